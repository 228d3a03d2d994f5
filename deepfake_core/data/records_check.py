"""Prove that the shards are a partition: every face once, in its shard, in its place, byte for byte.

Each face is read again from its faces file and made into the record that must exist; each shard is read again by
TensorFlow, which checks every checksum. Both sides are then compared shard by shard, as digests in order.
"""

import hashlib
import os
from collections import defaultdict
from collections.abc import Sequence

import tensorflow as tf

from deepfake_core import files, receipts, tables
from deepfake_core.data.face_files import FaceFile, iter_faces_of, list_face_files
from deepfake_core.data.records_index import RecordsIndex, Shard, SplitRecords, read_index
from deepfake_core.data.shards import in_threads
from deepfake_core.data.tfrecord import place_of
from deepfake_core.errors import DataQualityError
from deepfake_core.progress import SILENT, Progress
from deepfake_core.report import StageReport
from deepfake_core.workspace import Workspace

DIGEST_BYTES = 16
LONGEST_LIST = 10
"""Problems named in the message."""

Expected = dict[tuple[str, int], dict[bytes, str]]
"""For the number of a shard in its split: digest of a record → the face it shows, in the order of the shard."""


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
    workers = os.cpu_count() or 1
    expected = _expect(workspace, face_files, index, workers=workers, progress=progress)
    jobs = [(name, number, shard) for name, part in index.splits.items() for number, shard in enumerate(part.shards)]

    def check(job: tuple[str, int, Shard]) -> list[str]:
        name, number, shard = job
        return _check_shard(workspace, shard, expected.get((name, number), {}))

    problems = []
    with progress.bar("read shards again", total=len(jobs), unit="shards") as bar:
        for found in in_threads(check, jobs, workers=workers):
            problems += found
            bar.advance()
    problems += _check_counts(index, face_files)
    if problems:
        listed = "\n".join(f"- {problem}" for problem in sorted(problems)[:LONGEST_LIST])
        message = (
            f"the records are not what the faces make ({len(problems)} problems):\n{listed}\n"
            f"Delete {workspace.records_index} and run: deepfake records --workspace {workspace.root}"
        )
        raise DataQualityError(message)
    faces = sum(len(records) for records in expected.values())
    note = "every face is in the records exactly once, in its shard and in its place, byte for byte"
    return StageReport(
        stage="records",
        outcome="found",
        counts={"faces": faces, "shards": len(jobs), "videos": len(face_files)},
        notes=(note,),
        outputs={"index": str(workspace.records_index)},
    )


def _expect(
    workspace: Workspace, face_files: Sequence[FaceFile], index: RecordsIndex, *, workers: int, progress: Progress
) -> Expected:
    rows: dict[tuple[str, int], list[tuple[int, bytes, str]]] = defaultdict(list)

    def expect(face_file: FaceFile) -> tuple[FaceFile, list[tuple[int, int, bytes, str]]]:
        encoder = face_file.encoder()
        shards = len(index.split(str(face_file.split)).shards)
        found = []
        for faces in iter_faces_of(workspace, face_file):
            for frame, jpeg in faces:
                place = place_of(face_file.video_id, frame, seed=index.seed, shards=shards)
                digest = _digest(encoder.encode(frame, jpeg))
                found.append((place.shard, place.order, digest, f"{face_file.video_id} frame {frame}"))
        return face_file, found

    with progress.bar("read faces again", total=sum(f.faces for f in face_files), unit="faces") as bar:
        for face_file, found in in_threads(expect, face_files, workers=workers):
            for shard, order, digest, name in found:
                rows[str(face_file.split), shard].append((order, digest, name))
            bar.advance(face_file.faces)
    return {place: {digest: name for _, digest, name in sorted(listed)} for place, listed in rows.items()}


def _check_shard(workspace: Workspace, shard: Shard, expected: dict[bytes, str]) -> list[str]:
    path = workspace.resolve(shard.path)
    if not path.is_file():
        return [f"{shard.path} is gone"]
    if files.sha256_of_file(path) != shard.sha256:
        return [f"{shard.path} has other bytes than the index says"]
    try:
        found = [_digest(record.numpy()) for record in tf.data.TFRecordDataset(str(path))]
    except tf.errors.DataLossError as error:
        return [f"{shard.path} cannot be read: {error.message}"]
    if found == list(expected):
        return []
    missing = [name for digest, name in expected.items() if digest not in set(found)]
    problems = [f"{shard.path} lacks {name}" for name in missing]
    if strangers := len(set(found) - expected.keys()):
        problems.append(f"{shard.path} holds {strangers} records that no face makes")
    if twice := len(found) - len(set(found)):
        problems.append(f"{shard.path} holds {twice} records a second time")
    return problems or [f"{shard.path} holds its faces in another order"]


def _check_counts(index: RecordsIndex, face_files: Sequence[FaceFile]) -> list[str]:
    return [problem for name, part in index.splits.items() for problem in _check_split(name, part, face_files)]


def _check_split(name: str, part: SplitRecords, face_files: Sequence[FaceFile]) -> list[str]:
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


def _digest(record: bytes) -> bytes:
    return hashlib.blake2b(record, digest_size=DIGEST_BYTES).digest()
