"""The decoding side of scoring, run in worker processes: a video → a scratch file of its face crops.

The crops are written to a file and only its name is handed over, so neither the worker nor the scoring process ever
holds a whole video in memory, however long it is. Nothing here knows the model: what it needs is in ``CropSetup``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from deepfake_core import tables
from deepfake_core.faces.detector import FaceDetector, build_detector
from deepfake_core.faces.stream import FaceCrop, FaceFailure, iter_faces
from deepfake_core.specs import DetectorSpec, FaceSpec

ROWS_HELD = 64
"""Frames that are in memory at a time, on either side of the scratch file."""


@dataclass(frozen=True)
class CropSetup:
    """How a model wants its faces, and with what they are found.

    Attributes:
        face: how they are cropped.
        detector: how they are found.
        step: every how many frames.
        weights: of the detector; None for one that needs none.
        device: where the detector runs.
    """

    face: FaceSpec
    detector: DetectorSpec
    step: int
    weights: Path | None
    device: str


@dataclass(frozen=True)
class Cropper:
    """What a worker process makes once and uses for all its videos."""

    setup: CropSetup
    detector: FaceDetector


@dataclass(frozen=True)
class CropJob:
    """One video.

    Attributes:
        video: where it is.
        crops: the scratch file to write: ``tables.SCORED_FACES`` without logits, a row a sampled frame.
    """

    video: Path
    crops: Path


def open_cropper(setup: CropSetup) -> Cropper:
    """Load the detector, with one thread as in the extraction: PyTorch's last digits depend on how many it has."""
    detector = build_detector(setup.detector, weights=setup.weights, device=setup.device, threads=1)
    return Cropper(setup, detector)


def crop_video(cropper: Cropper, job: CropJob) -> Path:
    """Write the faces of a video's sampled frames to ``job.crops`` and return that path.

    Raises:
        MediaError: nothing of the video can be decoded.
    """
    setup = cropper.setup
    faces = iter_faces(
        job.video, detector=cropper.detector, face=setup.face, spec=setup.detector, step=setup.step, offset=0
    )
    with pq.ParquetWriter(job.crops, tables.SCORED_FACES, compression="none", use_dictionary=False) as writer:
        for rows in _groups(faces):
            writer.write_batch(pa.RecordBatch.from_pylist(rows, schema=tables.SCORED_FACES))
    return job.crops


def _groups(faces: Iterator[FaceCrop | FaceFailure]) -> Iterator[list[dict[str, Any]]]:
    rows: list[dict[str, Any]] = []
    for face in faces:
        rows.append(_row(face))
        if len(rows) == ROWS_HELD:
            yield rows
            rows = []
    if rows:
        yield rows


def _row(face: FaceCrop | FaceFailure) -> dict[str, Any]:
    row: dict[str, Any] = {"frame": face.frame, "seconds": face.seconds, "decoded": face.width > 0}
    if isinstance(face, FaceFailure):
        return row | {"reason": face.reason}
    box = face.box
    return row | {"x1": box.x1, "y1": box.y1, "x2": box.x2, "y2": box.y2, "jpeg": face.jpeg}
