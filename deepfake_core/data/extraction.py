"""One video → one faces file: what a worker of the extraction does.

A faces file is ``tables.FACES``, a row a sampled frame. In its own metadata it carries the video's row of the
extractions table, fingerprint included, so that nothing beside the file can contradict it. It is written a row group
at a time, under a temporary name, and renamed last.
"""

import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from deepfake_core import tables
from deepfake_core.config import ExtractConfig
from deepfake_core.errors import DeepfakeError, MediaError
from deepfake_core.faces.detector import FaceDetector, build_detector
from deepfake_core.faces.stream import FaceCrop, FaceFailure, FaceStream, iter_faces
from deepfake_core.specs import DetectorSpec

Row = dict[str, Any]

ROWS_A_GROUP = 128
"""Rows held in memory before they are written: about 4 MB of crops, however long the video is."""
_EXTRACTION = b"deepfake.extraction"


@dataclass(frozen=True)
class VideoJob:
    """One video as a worker needs it.

    Attributes:
        video_id: its id.
        path: where it is.
        bytes: size that it had when its digest was taken; None: not known.
        offset: index of the first sampled frame.
        fingerprint: of the faces file.
        output: where the faces file goes.
    """

    video_id: str
    path: Path
    bytes: int | None
    offset: int
    fingerprint: str
    output: Path


@dataclass(frozen=True)
class WorkerSetup:
    """What the jobs of a worker share, and what its detector is made from."""

    config: ExtractConfig
    spec: DetectorSpec
    weights: Path | None


@dataclass(frozen=True)
class WorkerState:
    """What a worker makes once: its detector."""

    config: ExtractConfig
    spec: DetectorSpec
    detector: FaceDetector


def open_detector(setup: WorkerSetup) -> WorkerState:
    """Load the detector of a worker, which is one thread: PyTorch's last digits depend on how many it has."""
    wanted = setup.config.detector
    detector = build_detector(setup.spec, weights=setup.weights, device=wanted.device, batch=wanted.batch, threads=1)
    return WorkerState(setup.config, setup.spec, detector)


def extract_video(state: WorkerState, job: VideoJob) -> Row:
    """Write the faces file of one video; return the video's row of the extractions table, without its digest.

    A video that is not there, or not as it was listed, is *missing*: nothing is wrong with its bytes, nobody saw them.

    Raises:
        MediaError: the video cannot be read.
        DeepfakeError: the faces file cannot be written.
    """
    if why := _why_missing(job):
        return write_failure(job, status="missing", reason=why)
    sampling = state.config.sampling
    stream = iter_faces(
        job.path,
        detector=state.detector,
        face=state.config.face,
        spec=state.spec,
        step=sampling.step,
        offset=job.offset,
        max_frames=sampling.max_frames,
    )
    counts: Counter[str] = Counter()
    with _growing(job) as writer:
        for rows in _row_groups(job.video_id, stream):
            counts.update(row["status"] for row in rows)
            writer.write_table(tables.from_rows(rows, tables.FACES))
        row = _extraction_row(
            job,
            status="ok" if counts["ok"] else "no_face",
            frames_decoded=stream.frames_decoded,
            frames_sampled=counts.total(),
            faces=counts["ok"],
            no_face=counts["no_face"],
            jumps=stream.jumps,
        )
        writer.add_key_value_metadata({_EXTRACTION: json.dumps(row)})
    return row


def write_failure(job: VideoJob, *, status: str, reason: str) -> Row:
    """Write a faces file without faces, so that a failure is remembered; return the video's row.

    Raises:
        DeepfakeError: the faces file cannot be written.
    """
    row = _extraction_row(job, status=status, reason=reason)
    with _growing(job) as writer:
        writer.add_key_value_metadata({_EXTRACTION: json.dumps(row)})
    return row


def read_extraction(path: Path) -> Row | None:
    """Return the extractions row that a faces file carries; None where there is no whole file of this version."""
    try:
        metadata = pq.read_metadata(path).metadata or {}
        current = all(metadata.get(key) == value for key, value in tables.FACES.metadata.items())
        row: Row | None = json.loads(metadata[_EXTRACTION]) if current else None
    except (OSError, pa.ArrowInvalid, KeyError, ValueError):
        return None
    return row


def _why_missing(job: VideoJob) -> str:
    """Say why the bytes whose digest the videos table holds cannot be had; empty where a cheap look finds them."""
    try:
        with job.path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
    except OSError as error:
        return f"{job.path} cannot be opened ({error.strerror}); is its disk there?"
    if job.bytes not in {None, size}:
        return f"{job.path.name}: has {size} bytes, the videos table says {job.bytes}. Run 'deepfake download' again."
    return ""


@contextmanager
def _growing(job: VideoJob) -> Iterator[pq.ParquetWriter]:
    try:
        with tables.growing(job.output, schema=tables.FACES) as writer:
            yield writer
    except OSError as error:
        message = (
            f"cannot write {job.output}: {error.strerror or error}. "
            "Make room or access, then run the same command again: finished videos are kept."
        )
        raise DeepfakeError(message) from error


def _row_groups(video_id: str, stream: FaceStream) -> Iterator[list[Row]]:
    while rows := [_face_row(video_id, item) for item in _next_items(stream)]:
        yield rows


def _next_items(stream: FaceStream) -> list[FaceCrop | FaceFailure]:
    """Return the items of a row group.

    Raises:
        MediaError: what the system says while a video is read is about the video, not about the file that is written.
    """
    try:
        return list(islice(stream, ROWS_A_GROUP))
    except OSError as error:
        message = f"cannot be read to its end ({error.strerror or error})."
        raise MediaError(message) from error


def _face_row(video_id: str, item: FaceCrop | FaceFailure) -> Row:
    row = {
        "video_id": video_id,
        "frame": item.frame,
        "seconds": item.seconds,
        "width": item.width,
        "height": item.height,
    }
    if isinstance(item, FaceFailure):
        return row | {"status": "no_face", "reason": item.reason}
    box = item.box
    return row | {
        "track": item.track,
        "x1": box.x1,
        "y1": box.y1,
        "x2": box.x2,
        "y2": box.y2,
        "confidence": box.confidence,
        "landmarks": box.landmarks,
        "box_source": item.box_source,
        "sharpness": item.sharpness,
        "status": "ok",
        "jpeg": item.jpeg,
    }


def _extraction_row(job: VideoJob, *, status: str, reason: str | None = None, **counts: int) -> Row:
    zero = dict.fromkeys(("frames_decoded", "frames_sampled", "faces", "no_face", "jumps"), 0)
    row = {"video_id": job.video_id, "fingerprint": job.fingerprint, "status": status, "reason": reason}
    return zero | counts | row
