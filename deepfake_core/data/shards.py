"""From faces files to shards in two passes, without ever holding more than a few images in memory.

1. *Spill*: every faces file is read once, every face becomes a finished record and goes to the bucket of its shard.
   Buckets are in the order of arrival, which differs from run to run; where each record lies, in the order of the
   random bits that decide its place, is written when all buckets are full.
2. *Write*: each bucket's records are copied to their shard in that order. The result does not depend on who arrived
   first.

Both passes run in threads: decompressing, hashing, checksumming and writing all happen outside Python's lock. A spill
that was finished, and every shard that was finished after it, survives a kill.
"""

import contextlib
import functools
import hashlib
import os
import shutil
import threading
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf

from deepfake_core import files
from deepfake_core.data.face_files import FaceFile, iter_faces_of
from deepfake_core.data.records_index import Shard
from deepfake_core.data.tfrecord import FRAMING_BYTES, place_of
from deepfake_core.progress import Progress
from deepfake_core.workspace import Workspace

COPY_BUFFER_BYTES = 1 << 20

Job = TypeVar("Job")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Target:
    """A shard to be written.

    Attributes:
        split: ``train``, ``val`` or ``test``.
        number: from zero, within its split.
        path: where the file goes.
        stored: the same, as the workspace stores it.
    """

    split: str
    number: int
    path: Path
    stored: str

    @property
    def name(self) -> str:
        """Name of what belongs to it between the two passes."""
        return f"{self.split}-{self.number:05d}"


class Bucket:
    """The records of one shard in the order of their arrival."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer = tf.io.TFRecordWriter(str(path))
        self._lock = threading.Lock()
        self._rows = array("Q")
        self._end = 0

    def add(self, records: Iterable[tuple[int, bytes]]) -> None:
        """Append records, each with the bits that decide its place."""
        with self._lock:
            for order, record in records:
                self._writer.write(record)
                size = len(record) + FRAMING_BYTES
                self._rows.extend((order, self._end, size))
                self._end += size

    def close(self) -> np.ndarray:
        """Bring the records safely to disk; return start and size of each, uint64, in the order of the shard."""
        self._writer.close()
        with self._path.open("rb") as stream:
            os.fsync(stream.fileno())
        rows = np.frombuffer(self._rows, dtype=np.uint64).reshape(-1, 3)
        return rows[np.argsort(rows[:, 0], kind="stable"), 1:]

    def abandon(self) -> None:
        """Close without making the bucket usable."""
        self._writer.close()


class Spill:
    """The folder of the buckets between the two passes.

    Its name carries the fingerprint of what will be written, so a spill of other inputs is never taken for this one.
    """

    def __init__(self, records: Path, *, fingerprint: str) -> None:
        self.folder = records / f".spill-{fingerprint[:16]}"

    def complete(self, targets: Iterable[Target]) -> bool:
        """Say whether every face is in its bucket or already in its shard."""
        return self._layout.is_file() and all(
            self._bucket(target).is_file() or self.finished(target) is not None for target in targets
        )

    def fill(
        self,
        workspace: Workspace,
        face_files: Sequence[FaceFile],
        targets: Sequence[Target],
        *,
        seed: int,
        workers: int,
        progress: Progress,
    ) -> None:
        """Put every face into the bucket of its shard.

        Raises:
            StaleInput: a faces file is not what extraction wrote.
        """
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        buckets = {(target.split, target.number): Bucket(self._bucket(target)) for target in targets}
        shards = Counter(target.split for target in targets)

        def spill(face_file: FaceFile) -> int:
            split = str(face_file.split)
            encoder = face_file.encoder()
            for faces in iter_faces_of(workspace, face_file):
                parts: dict[int, list[tuple[int, bytes]]] = defaultdict(list)
                for frame, jpeg in faces:
                    place = place_of(face_file.video_id, frame, seed=seed, shards=shards[split])
                    parts[place.shard].append((place.order, encoder.encode(frame, jpeg)))
                for number, records in parts.items():
                    buckets[split, number].add(records)
            return face_file.faces

        with contextlib.ExitStack() as stack:
            for bucket in buckets.values():
                stack.callback(bucket.abandon)
            with progress.bar("sort faces into shards", total=sum(f.faces for f in face_files), unit="faces") as bar:
                for faces in in_threads(spill, face_files, workers=workers):
                    bar.advance(faces)
            layout: dict[str, Any] = {target.name: buckets[target.split, target.number].close() for target in targets}
        with files.replacing(self._layout) as temporary:
            np.savez(temporary, **layout)

    def write_shard(self, target: Target) -> Shard:
        """Copy one bucket to its shard, in the order of the shard; return what the index says of it.

        A shard that an earlier run finished is not written again. The bucket is removed as soon as its shard is safe,
        so the disk holds the faces little more than twice: once as extracted and once as spilled or written.
        """
        if shard := self.finished(target):
            return shard
        bucket = self._bucket(target)
        rows = self._places[target.name]
        digest = hashlib.sha256()
        with (
            files.replacing(target.path) as temporary,
            bucket.open("rb") as source,
            temporary.open("wb", buffering=COPY_BUFFER_BYTES) as stream,
        ):
            for start, size in rows.tolist():
                record = os.pread(source.fileno(), size, start)
                digest.update(record)
                stream.write(record)
        shard = Shard(path=target.stored, faces=len(rows), bytes=int(rows[:, 1].sum()), sha256=digest.hexdigest())
        files.write_json(self._receipt(target), shard.model_dump(mode="json"))
        bucket.unlink()
        return shard

    def finished(self, target: Target) -> Shard | None:
        """Return what is known of a shard that an earlier run brought to its place."""
        receipt = self._receipt(target)
        if not receipt.is_file():
            return None
        shard = Shard.model_validate(files.read_json(receipt))
        return shard if target.path.is_file() and target.path.stat().st_size == shard.bytes else None

    def remove(self) -> None:
        """Remove the folder; the shards are in their places."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @functools.cached_property
    def _places(self) -> dict[str, np.ndarray]:
        """Start and size of every record, uint64, by the name of its target; sixteen bytes a face."""
        with np.load(self._layout) as layout:
            return {name: layout[name] for name in layout.files}

    @property
    def _layout(self) -> Path:
        """Where the records lie in every bucket; written when all buckets are full."""
        return self.folder / "layout.npz"

    def _bucket(self, target: Target) -> Path:
        return self.folder / f"{target.name}.bucket"

    def _receipt(self, target: Target) -> Path:
        return self.folder / f"{target.name}.json"


def in_threads(function: Callable[[Job], Result], jobs: Iterable[Job], *, workers: int) -> Iterator[Result]:
    """Yield the results of ``function`` over ``jobs`` as they come; after the first error no further job begins."""
    with ThreadPoolExecutor(max_workers=workers) as pool:
        try:
            for future in as_completed([pool.submit(function, job) for job in jobs]):
                yield future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
