"""Verify video files: digest, stream parameters, and proof that they decode.

Of a file's pictures only the first is decoded, but all of its packets are read against the index in its header, which
finds a tail that is cut off. (A full decode of 10,000 videos takes hours, and extraction does it anyway.) Files are
verified in supervised processes: a hostile one costs a row with a reason, never the run. What was found is remembered
by path, size and time, so that a second run reads only what changed.
"""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import av

from deepfake_core import files
from deepfake_core.data.layout import VideoFile
from deepfake_core.errors import MediaError
from deepfake_core.faces.container import declared_frames, opened, reason_of
from deepfake_core.faces.video import probe_video
from deepfake_core.faces.workers import Outcome, supervise
from deepfake_core.progress import SILENT, Progress

VERSION = 2
"""Of what ``verify_file`` finds; what another version remembered is forgotten."""
SECONDS_PER_VIDEO = 600.0
MEMORY_MB = 4096

Found = dict[str, Any]
"""The columns of ``tables.VIDEOS`` that only the file itself can tell, from ``sha256`` to ``reason``."""


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


def verify_file(path: Path) -> Found:
    """Return what a file itself can tell; one that is no whole video has the status ``unreadable`` and a reason."""
    try:
        found: Found = {"bytes": path.stat().st_size, "sha256": files.sha256_of_file(path)}
    except OSError as error:
        return _unreadable(f"{path.name}: cannot be read ({error.strerror or error}).")
    try:
        found |= asdict(probe_video(path))
        refuse_cut_off(path)
    except MediaError as error:
        return {**found, **_unreadable(str(error))}
    return {**found, "status": "ok", "reason": None}


def refuse_cut_off(path: Path) -> None:
    """Read all packets of a video that opens.

    Raises:
        MediaError: the file ends before the last picture that its header promises.
    """
    with opened(path) as (container, stream):
        packets, broken = 0, ""
        try:
            for packet in container.demux(stream):
                packets += packet.size > 0 and not packet.is_corrupt
                broken = broken or ("in the middle of a picture" if packet.is_corrupt else "")
        except av.FFmpegError as error:
            broken = reason_of(error)
        if broken or packets < declared_frames(path, stream, packets):
            message = f"{path.name}: its tail is missing, only {packets} of {stream.frames} frames are whole."
            raise MediaError(message)


class Remembered:
    """What was found in files before, one JSON line a file, appended as it is found.

    A half-written last line, which a killed run may leave, is not seen.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found: dict[tuple[str, FileState], Found] = dict(self._read())

    def _read(self) -> Iterator[tuple[tuple[str, FileState], Found]]:
        lines = self._path.read_text(encoding="utf-8").splitlines() if self._path.exists() else []
        for line in lines:
            try:
                values = json.loads(line)
                if values["version"] == VERSION:
                    yield (values["path"], FileState(*values["state"])), values["found"]
            except (ValueError, KeyError, TypeError):
                continue

    def find(self, path: Path, state: FileState) -> Found | None:
        """Return what was found in a file that has not changed since."""
        return self._found.get((_key(path), state))

    def add(self, path: Path, state: FileState, found: Found) -> None:
        """Remember what was found in a file."""
        self._found[_key(path), state] = found
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(self._line(_key(path), state, found))

    def keep(self, states: Iterable[tuple[Path, FileState]]) -> None:
        """Forget all but these files."""
        kept = {(_key(path), state) for path, state in states} & self._found.keys()
        self._found = {key: self._found[key] for key in sorted(kept, key=lambda key: (key[0], key[1].mtime_ns))}
        lines = [self._line(path, state, found) for (path, state), found in self._found.items()]
        files.write_text(self._path, "".join(lines))

    @staticmethod
    def _line(path: str, state: FileState, found: Found) -> str:
        values = {"version": VERSION, "path": path, "state": [state.bytes, state.mtime_ns], "found": found}
        # A line break in front ends a line that a killed run may have left half written.
        return "\n" + json.dumps(values, ensure_ascii=True)


def verify_files(
    videos: Sequence[VideoFile], *, remembered: Remembered, workers: int | None, progress: Progress = SILENT
) -> dict[str, Found]:
    """Verify files in parallel, but for those that are remembered.

    Returns:
        Video id → what was found, in the order of ``videos``.
    """
    states = {video.video_id: FileState.of(video.path) for video in videos}
    found = {video.video_id: remembered.find(video.path, states[video.video_id]) for video in videos}
    todo = {video.video_id: video for video in videos if found[video.video_id] is None}
    if todo:
        outcomes = supervise(
            ((video_id, str(video.path)) for video_id, video in todo.items()),
            function=_verify,
            workers=min(workers or os.cpu_count() or 1, len(todo)),
            seconds_per_job=SECONDS_PER_VIDEO,
            memory_mb=MEMORY_MB,
        )
        with progress.bar("verify videos", total=len(todo), unit="videos") as bar:
            for outcome in outcomes:
                found[outcome.key] = found_now = _found_by(outcome)
                if "sha256" in found_now:
                    remembered.add(todo[outcome.key].path, states[outcome.key], found_now)
                bar.advance()
    remembered.keep((video.path, states[video.video_id]) for video in videos)
    return {video_id: values for video_id, values in found.items() if values is not None}


def _verify(_: None, path: str) -> Found:
    return verify_file(Path(path))


def _found_by(outcome: Outcome) -> Found:
    return outcome.value if outcome.status == "ok" else _unreadable(f"its verification was {outcome.reason}.")


def _unreadable(reason: str) -> Found:
    return {"status": "unreadable", "reason": reason}


def _key(path: Path) -> str:
    return str(path.absolute()).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
