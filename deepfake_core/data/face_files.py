"""The faces files that records are made from, joined with what the other tables know of their videos."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from deepfake_core import files, tables
from deepfake_core.data.tfrecord import ExampleEncoder
from deepfake_core.errors import StaleInput
from deepfake_core.workspace import Workspace

ROWS_AT_ONCE = 256
"""Faces of a video held in memory; a long video is read piece by piece."""


@dataclass(frozen=True)
class FaceFile:
    """The faces of one video.

    Attributes:
        video_id: of the video.
        digest: SHA-256 that its faces file must have.
        faces: rows in it that are faces.
        split: ``train``, ``val`` or ``test``; None for a video that no split holds.
        group: of its people; empty where there is no split.
        method: ``original`` or the manipulation.
        compression: of the video.
        label: 0 original, 1 manipulated.
    """

    video_id: str
    digest: str
    faces: int
    split: str | None
    group: str
    method: str
    compression: str
    label: int

    def encoder(self) -> ExampleEncoder:
        """Return what turns its faces into records."""
        return ExampleEncoder(
            video_id=self.video_id, method=self.method, compression=self.compression, group=self.group, label=self.label
        )


def list_face_files(workspace: Workspace, splits: pa.Table) -> list[FaceFile]:
    """Return the faces files that hold at least one face, in the order of their video ids.

    Args:
        workspace: holds the tables of videos and extractions.
        splits: the table of splits.
    """
    columns = ("video_id", "method", "compression", "label")
    videos = {row["video_id"]: row for row in _rows(tables.read(workspace.videos_table, schema=tables.VIDEOS), columns)}
    places = {row["video_id"]: row for row in _rows(splits, ("video_id", "group", "split"))}
    extractions = tables.read(workspace.extractions_table, schema=tables.EXTRACTIONS)
    found = [row for row in _rows(extractions, ("video_id", "digest", "faces")) if row["digest"] and row["faces"]]
    return [
        FaceFile(
            video_id=row["video_id"],
            digest=row["digest"],
            faces=row["faces"],
            split=places.get(row["video_id"], {}).get("split"),
            group=places.get(row["video_id"], {}).get("group", ""),
            method=videos[row["video_id"]]["method"],
            compression=videos[row["video_id"]]["compression"],
            label=videos[row["video_id"]]["label"],
        )
        for row in sorted(found, key=lambda row: str(row["video_id"]))
    ]


def refuse_missing_files(workspace: Workspace, face_files: Iterable[FaceFile]) -> None:
    """Refuse to go on where a faces file is gone.

    Raises:
        StaleInput: names the first one.
    """
    for face_file in face_files:
        if not workspace.faces_of(face_file.video_id).is_file():
            raise _not_what_was_extracted(workspace, face_file, "it is gone")


def iter_faces_of(workspace: Workspace, face_file: FaceFile) -> Iterator[list[tuple[int, memoryview]]]:
    """Yield the faces of one video as lists of frame number and JPEG bytes, after checking the file's digest.

    The images are views into the batch they came with: use them before asking for the next one.

    Raises:
        StaleInput: the file is gone, is not what extraction wrote, or holds other faces than it counted.
    """
    path = workspace.faces_of(face_file.video_id)
    refuse_missing_files(workspace, [face_file])
    if files.sha256_of_file(path) != face_file.digest:
        raise _not_what_was_extracted(workspace, face_file, "its digest is another")
    frames: set[int] = set()
    with pq.ParquetFile(path, memory_map=True) as parquet:
        for batch in parquet.iter_batches(ROWS_AT_ONCE, columns=["frame", "status", "jpeg"]):
            faces = batch.filter(pc.equal(batch.column("status"), "ok"))
            numbers = faces.column("frame").to_pylist()
            frames.update(numbers)
            yield list(zip(numbers, _views(faces.column("jpeg")), strict=True))
    if len(frames) != face_file.faces:
        raise _not_what_was_extracted(workspace, face_file, f"it holds faces of {len(frames)} frames")


def _views(jpegs: pa.BinaryArray) -> list[memoryview]:
    return [memoryview(jpeg.as_buffer()) for jpeg in jpegs]


def _rows(table: pa.Table, columns: tuple[str, ...]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = table.select(list(columns)).to_pylist()
    return rows


def _not_what_was_extracted(workspace: Workspace, face_file: FaceFile, found: str) -> StaleInput:
    return StaleInput(
        f"{workspace.faces_of(face_file.video_id)} is not the file that extraction wrote with {face_file.faces} faces: "
        f"{found}. Delete it, if it is there, and extract again: deepfake extract --workspace {workspace.root}"
    )
