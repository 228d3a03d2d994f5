"""Which videos are meant: files and folders as people give them → one entry a video, in order, with its digest.

Nothing is left out silently. A folder stands for the videos below it; a file that is named is taken whatever its
suffix, even if it is missing: what is wrong with it becomes a row of the scores.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from deepfake_core import files
from deepfake_core.errors import ConfigError
from deepfake_core.progress import SILENT, Progress, track

VIDEO_SUFFIXES = frozenset(
    {".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm", ".wmv", ".flv", ".mpg", ".mpeg", ".mxf", ".ogv"}
    | {".ts", ".mts", ".m2ts", ".vob", ".3gp", ".y4m"}
)
"""Files that are taken from a folder; in small letters."""

_READERS = 4


@dataclass(frozen=True)
class InputVideo:
    """A file to score.

    Attributes:
        path: where it is.
        sha256: digest of its content; None where it cannot be read at all.
        reason: why it cannot be read; empty where it can.
    """

    path: Path
    sha256: str | None
    reason: str = ""

    @property
    def name(self) -> str:
        """The path as given or found, as text that every table can hold whatever bytes the file name has."""
        return os.fsencode(self.path).decode("utf-8", "backslashreplace")


def find_videos(paths: Sequence[Path]) -> list[Path]:
    """Return the videos that ``paths`` stand for, each once, in the order given and sorted inside each folder.

    Args:
        paths: files, taken whatever they are called, and folders, searched for ``VIDEO_SUFFIXES`` at any depth.
            Hidden files and folders are not searched; links to folders are followed.

    Raises:
        ConfigError: there are no paths, or a folder holds no videos or cannot be listed.
    """
    if not paths:
        raise ConfigError("there is nothing to score: give at least one video or a folder of videos.")
    found: dict[str, Path] = {}
    for path in paths:
        for video in _videos_below(path) if path.is_dir() else [path]:
            found.setdefault(os.path.abspath(video), video)  # noqa: PTH100 - resolve() would merge links, which are two names
    return list(found.values())


def digest_videos(paths: Sequence[Path], *, progress: Progress = SILENT) -> list[InputVideo]:
    """Read every file once for its digest; files that cannot be read get a reason instead."""
    with ThreadPoolExecutor(_READERS) as readers:
        digested = readers.map(_digest, paths)
        return list(track(digested, progress, "Read", total=len(paths), unit="videos"))


def _videos_below(folder: Path) -> list[Path]:
    videos = sorted(path for path in _walk(folder) if path.suffix.lower() in VIDEO_SUFFIXES)
    if not videos:
        message = f"the folder {folder} holds no videos. Looked at any depth for: {' '.join(sorted(VIDEO_SUFFIXES))}."
        raise ConfigError(message)
    return videos


def _walk(folder: Path) -> Iterator[Path]:
    seen: set[str] = set()
    for root, folders, names in os.walk(folder, followlinks=True, onerror=_refuse_unlisted):
        here = os.path.realpath(root)
        if here in seen:  # a link that leads back up
            folders.clear()
            continue
        seen.add(here)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(root, name) for name in names if not name.startswith("."))


def _refuse_unlisted(error: OSError) -> None:
    message = f"the folder {error.filename} cannot be listed: {error.strerror}. Its videos would be missing silently."
    raise ConfigError(message)


def _digest(path: Path) -> InputVideo:
    try:
        # A pipe or a device would be waited for without end.
        if not stat.S_ISREG(path.stat().st_mode):
            return InputVideo(path, None, "is not a regular file.")
        return InputVideo(path, files.sha256_of_file(path))
    except FileNotFoundError:
        return InputVideo(path, None, "there is no such file.")
    except OSError as error:
        return InputVideo(path, None, f"cannot be opened ({error.strerror or error}).")
