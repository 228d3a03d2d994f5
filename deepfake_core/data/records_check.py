"""Prove that the shards are a partition: every face once, in its shard, in its place, byte for byte.

Each face is read again from its faces file and made into the record that must exist; each shard is read again by
TensorFlow, which checks every checksum. Both sides are then compared shard by shard, as digests in order.
"""

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from deepfake_core import files, receipts, tables
from deepfake_core.data.face_files import FaceFile, iter_faces_of, list_face_files
from deepfake_core.data.records_index import RecordsIndex, Shard, SplitRecords, read_index, stray_shards
from deepfake_core.data.shards import in_threads
from deepfake_core.data.tfrecord import place_of
from deepfake_core.errors import DataQualityError
from deepfake_core.progress import SILENT, Progress
from deepfake_core.report import StageReport
from deepfake_core.workspace import Workspace

LONGEST_LIST = 10
"""Problems named in the message."""

EXPECTED = np.dtype([("order", "u8"), ("digest", "u8", 2), ("video", "u4"), ("frame", "u4")])
"""What must stand in a shard, 32 bytes a face: place, digest of the record, number of the faces file, frame."""

RECORDS_AT_ONCE = 256

Expected = dict[tuple[str, int], np.ndarray]
"""Split and number of a shard → ``EXPECTED`` rows in the order of the shard."""


def verify_records(workspace: Workspace, *, progress: Progress = SILENT) -> StageReport:
    """Read all faces and all shards again and hold them against each other.

    Returns:
        How many faces and shards were proved.

    Raises:
        MissingInput, StaleInput: the records are not done.
        DataQualityError: a shard is damaged, or a face is missing, twice, misplaced or changed.
    """
    receipts.require_done(workspace, "records")
    index = read_index(workspace)
    splits = tables.read(workspace.splits_table, schema=tables.SPLITS)
    face_files = [face_file for face_file in list_face_files(workspace, splits) if face_file.split is not None]
    expected = _expect(workspace, face_files, index, progress=progress)
    problems = _check_shards(workspace, index, expected, face_files, progress=progress)
    problems += [problem for name, part in index.splits.items() for problem in _check_counts(name, part, face_files)]
    problems += [f"{path} is in no index" for path in stray_shards(workspace, index)]
    if problems:
        listed = "\n".join(f"- {problem}" for problem in sorted(problems)[:LONGEST_LIST])
        message = (
            f"the records are not what the faces make ({len(problems)} problems):\n{listed}\n"
            f"Delete {workspace.records_index} and run: deepfake records --workspace {workspace.root}"
        )
        raise DataQualityError(message)
    return StageReport(
        stage="records",
        outcome="found",
        counts={
            "faces": sum(len(rows) for rows in expected.values()),
            "videos": len(face_files),
            "shards": sum(len(part.shards) for part in index.splits.values()),
        },
        notes=("every face is in the records exactly once, in its shard and in its place, byte for byte",),
        outputs={"index": str(workspace.records_index)},
    )


def _expect(
    workspace: Workspace, face_files: Sequence[FaceFile], index: RecordsIndex, *, progress: Progress
) -> Expected:
    def expect(video: int) -> tuple[int, dict[int, np.ndarray]]:
        face_file = face_files[video]
        encoder = face_file.encoder()
        shards = len(index.split(str(face_file.split)).shards)
        rows: dict[int, list[Any]] = defaultdict(list)
        for faces in iter_faces_of(workspace, face_file):
            for frame, jpeg in faces:
                place = place_of(face_file.video_id, frame, seed=index.seed, shards=shards)
                rows[place.shard].append((place.order, _digest(encoder.encode(frame, jpeg)), video, frame))
        return video, {shard: np.array(listed, dtype=EXPECTED) for shard, listed in rows.items()}

    parts: dict[tuple[str, int], list[np.ndarray]] = defaultdict(list)
    with progress.bar("read faces again", total=sum(f.faces for f in face_files), unit="faces") as bar:
        for video, rows in in_threads(expect, range(len(face_files)), workers=os.cpu_count() or 1):
            for shard, listed in rows.items():
                parts[str(face_files[video].split), shard].append(listed)
            bar.advance(face_files[video].faces)
    return {place: np.sort(np.concatenate(listed), order="order") for place, listed in parts.items()}


def _check_shards(
    workspace: Workspace,
    index: RecordsIndex,
    expected: Expected,
    face_files: Sequence[FaceFile],
    *,
    progress: Progress,
) -> list[str]:
    jobs = [(name, number, shard) for name, part in index.splits.items() for number, shard in enumerate(part.shards)]

    def check(job: tuple[str, int, Shard]) -> list[str]:
        name, number, shard = job
        return _check_shard(workspace, shard, expected.get((name, number), np.empty(0, EXPECTED)), face_files)

    problems = []
    with progress.bar("read shards again", total=len(jobs), unit="shards") as bar:
        for found in in_threads(check, jobs, workers=os.cpu_count() or 1):
            problems += found
            bar.advance()
    return problems


def _check_shard(workspace: Workspace, shard: Shard, expected: np.ndarray, face_files: Sequence[FaceFile]) -> list[str]:
    path = workspace.resolve(shard.path)
    if not path.is_file():
        return [f"{shard.path} is gone"]
    if files.sha256_of_file(path) != shard.sha256:
        return [f"{shard.path} has other bytes than the index says"]
    try:
        batches = tf.data.TFRecordDataset(str(path)).batch(RECORDS_AT_ONCE).as_numpy_iterator()
        found = [_digest(record) for batch in batches for record in batch]
    except tf.errors.DataLossError as error:
        return [f"{shard.path} cannot be read: {error.message}"]
    wanted = [tuple(digest) for digest in expected["digest"].tolist()]
    if found == wanted:
        return []
    return _explain(shard.path, Counter(found), wanted, expected, face_files)


def _explain(
    path: str,
    found: Counter[tuple[int, int]],
    wanted: Sequence[tuple[int, ...]],
    expected: np.ndarray,
    face_files: Sequence[FaceFile],
) -> list[str]:
    """Say in which way a shard is not what it should be."""
    problems = [
        f"{path} lacks {face_files[row['video']].video_id} frame {row['frame']}"
        for digest, row in zip(wanted, expected, strict=True)
        if digest not in found
    ]
    if strangers := len(found.keys() - set(wanted)):
        problems.append(f"{path} holds {strangers} records that no face makes")
    if twice := found.total() - len(found):
        problems.append(f"{path} holds {twice} records a second time")
    return problems or [f"{path} holds its faces in another order"]


def _check_counts(name: str, part: SplitRecords, face_files: Sequence[FaceFile]) -> list[str]:
    held = [face_file for face_file in face_files if face_file.split == name]
    wanted = {
        "faces": sum(face_file.faces for face_file in held),
        "classes": {str(label): sum(f.faces for f in held if f.label == label) for label in (0, 1)},
        "groups": tuple(sorted({face_file.group for face_file in held})),
    }
    found = {"faces": part.faces, "classes": part.classes, "groups": part.groups}
    problems = [f"the index gives {name} other {key} than the tables" for key in wanted if wanted[key] != found[key]]
    if sum(shard.faces for shard in part.shards) != part.faces:
        problems.append(f"the index gives the {name} shards other faces than the split")
    return problems


def _digest(record: bytes) -> tuple[int, int]:
    digest = hashlib.blake2b(record, digest_size=16).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")
