"""Verify video files: digest, stream parameters, and proof that they decode.

A file is read to its end twice: once for its SHA-256, once packet by packet against the index in its header, which
finds tails that are cut off. Of its pictures only the first ones are decoded: a full decode of 10,000 videos takes
hours, and extraction does it anyway. A file that fails is a row with a reason.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av

from deepfake_core import files
from deepfake_core.data.layout import VideoFile
from deepfake_core.errors import MediaError
from deepfake_core.progress import SILENT, Progress, track


@dataclass(frozen=True)
class FileState:
    """A file's size and time: what tells an unchanged file from a changed one without reading it."""

    bytes: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> "FileState":
        """Return the state of a file; one that cannot be looked at has size and time -1."""
        try:
            status = path.stat()
        except OSError:
            return cls(-1, -1)
        return cls(status.st_size, status.st_mtime_ns)


def verify_file(path: Path) -> dict[str, Any]:
    """Return the columns of ``tables.VIDEOS`` that only the file itself can tell, ``sha256`` to ``reason``."""
    try:
        found: dict[str, Any] = {"bytes": path.stat().st_size, "sha256": files.sha256_of_file(path)}
    except OSError as error:
        return {"status": "unreadable", "reason": f"the file cannot be read: {error.strerror or error}"}
    try:
        found |= _probe(path)
        refuse_broken(path)
    except MediaError as error:
        return {**found, "status": "unreadable", "reason": str(error)}
    return {**found, "status": "ok", "reason": None}


def refuse_broken(path: Path) -> None:
    """Walk through a video's packets and decode its first picture.

    Raises:
        MediaError: no picture can be decoded, or the file ends before the last picture that its header promises.
    """
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            packets = decoded = 0
            for packet in container.demux(stream):
                packets += packet.size > 0
                if decoded == 0:
                    decoded += len(packet.decode())
                if packet.is_corrupt:
                    break
            if decoded == 0:
                message = "no picture can be decoded"
                raise MediaError(message)
            if packets < stream.frames or packet.is_corrupt:
                message = f"the file ends after {packets} of {stream.frames} pictures"
                raise MediaError(message)
    except (av.FFmpegError, IndexError, ValueError) as error:
        message = f"the video cannot be decoded: {error}"
        raise MediaError(message) from None


def _probe(path: Path) -> dict[str, Any]:
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            fps = float(stream.average_rate or 0)
            return {
                "codec": stream.codec_context.name,
                "pix_fmt": stream.pix_fmt,
                "rotation": 0,
                "width": stream.width,
                "height": stream.height,
                "fps": fps,
                "frames": stream.frames,
                "duration": float(stream.duration * stream.time_base) if stream.duration else stream.frames / fps,
            }
    except (av.FFmpegError, IndexError, ValueError) as error:
        message = f"the video cannot be opened: {error}"
        raise MediaError(message) from None


def verify_files(
    videos: list[VideoFile], *, workers: int | None, progress: Progress = SILENT
) -> Iterator[tuple[VideoFile, dict[str, Any]]]:
    """Verify files, several at a time; yield them in order with what ``verify_file`` found."""
    with ThreadPoolExecutor(max_workers=workers or os.cpu_count()) as pool:
        found = pool.map(verify_file, [video.path for video in videos])
        yield from track(zip(videos, found, strict=True), progress, "verify videos", total=len(videos), unit="videos")
