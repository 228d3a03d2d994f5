"""The folder layout of FaceForensics++ and what its names say about the people in a video.

::

    original_sequences/youtube/<compression>/videos/183.mp4                     set "original"
    original_sequences/actors/<compression>/videos/01__kitchen_pan.mp4          set "DeepFakeDetection_original"
    manipulated_sequences/<Method>/<compression>/videos/183_253.mp4             <target>_<source>
    manipulated_sequences/DeepFakeDetection/<compression>/videos/01_02__kitchen_pan__ABCDEFGH.mp4

A fake shows the head of its *target* and the face or expression of its *source*. Video ids read
``<dataset>/<method>/<compression>/<name>``, such as ``ffpp/Deepfakes/c23/183_253``.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

SUFFIX = ".mp4"
ORIGINAL = "original"
MASKS = "masks"
LONGEST_NAME_BYTES = 200  # the name becomes a file name again, with a longer suffix; file systems allow 255


@dataclass(frozen=True)
class VideoSet:
    """One set of videos, as the configuration names it.

    Attributes:
        name: in ``download.datasets``.
        folder: below the root of the layout.
        dataset: first part of a video id: ``ffpp`` (YouTube faces) or ``dfd`` (actors).
        method: ``original`` or the manipulation.
        pattern: what a file stem must look like; its groups ``target`` and ``source`` are people.
        has_masks: the server publishes masks of the manipulated region.
    """

    name: str
    folder: str
    dataset: str
    method: str
    pattern: re.Pattern[str]
    has_masks: bool

    @property
    def expected_name(self) -> str:
        """What a name of this set looks like, for people."""
        scene = "__<scene>" if self.dataset == "dfd" else ""
        return f"<person>{scene}" if self.method == ORIGINAL else f"<target>_<source>{scene}"


def _video_set(name: str, folder: str, *, dataset: str = "ffpp", method: str | None = None) -> VideoSet:
    people = r"(?P<target>[^_]+)" if method == ORIGINAL else r"(?P<target>[^_]+)_(?P<source>[^_]+)"
    scene = "__.+" if dataset == "dfd" else ""
    has_masks = method != ORIGINAL and name != "FaceShifter"
    return VideoSet(name, folder, dataset, method or name, re.compile(people + scene), has_masks)


_METHODS = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures", "FaceShifter")
VIDEO_SETS: dict[str, VideoSet] = {
    found.name: found
    for found in (
        _video_set("original", "original_sequences/youtube", method=ORIGINAL),
        *(_video_set(method, f"manipulated_sequences/{method}") for method in _METHODS),
        _video_set("DeepFakeDetection", "manipulated_sequences/DeepFakeDetection", dataset="dfd"),
        _video_set("DeepFakeDetection_original", "original_sequences/actors", dataset="dfd", method=ORIGINAL),
    )
}


@dataclass(frozen=True)
class VideoFile:
    """Where one video lies, or should lie, and whom it shows.

    Attributes:
        path: of the file.
        video_set: the set it belongs to.
        compression: ``raw``, ``c23`` or ``c40``.
        name: file stem; what a table cannot hold is written out as an escape.
        target: whose head is seen; the whole name where it does not follow the rule.
        source: whose face or expression was put on it; None for originals.
        problem: a sentence when the name does not follow the rule of its set, else empty.
    """

    path: Path
    video_set: VideoSet
    compression: str
    name: str
    target: str
    source: str | None
    problem: str = ""

    @property
    def video_id(self) -> str:
        """``<dataset>/<method>/<compression>/<name>``."""
        return f"{self.video_set.dataset}/{self.video_set.method}/{self.compression}/{self.name}"


@dataclass(frozen=True)
class Listing:
    """What a folder in the layout of FaceForensics++ holds.

    Attributes:
        root: the folder.
        videos: those that were asked for, by video id.
        strays: files in the videos' folders that are no videos by their name.
        left_out: number of videos by folder that were not asked for.
    """

    root: Path
    videos: tuple[VideoFile, ...]
    strays: tuple[Path, ...]
    left_out: dict[str, int]


def folder_of(root: Path, video_set: VideoSet, compression: str) -> Path:
    """Return the folder of one set at one compression."""
    return root / video_set.folder / compression / "videos"


def identify(path: Path, video_set: VideoSet, compression: str) -> VideoFile:
    """Read from a file's name whom it shows; a name that does not say it gets a ``problem``."""
    name = printable(path.stem)
    if len(name.encode()) > LONGEST_NAME_BYTES:
        short = f"{name[:60]}~{len(name.encode())}"
        problem = f"its name has {len(name.encode())} bytes; at most {LONGEST_NAME_BYTES} are possible"
        return VideoFile(path, video_set, compression, short, short, None, problem)
    match = video_set.pattern.fullmatch(name)
    if match is None or name != path.stem:
        problem = f"its name {name!r} does not say whom it shows; {video_set.name} expects {video_set.expected_name}"
        return VideoFile(path, video_set, compression, name, name, None, problem)
    people = match.groupdict()
    return VideoFile(path, video_set, compression, name, people["target"], people.get("source"))


def list_videos(
    root: Path, *, datasets: Sequence[str], compressions: Sequence[str], num_videos: int | None = None
) -> Listing:
    """List the videos below ``root``, without opening them.

    Args:
        root: folder that holds ``original_sequences`` and ``manipulated_sequences``.
        datasets: names of ``VIDEO_SETS``.
        compressions: which folders of them.
        num_videos: the first so many of each set and compression, in the order of names; None: all.
    """
    videos: dict[str, VideoFile] = {}
    strays: list[Path] = []
    wanted = [(VIDEO_SETS[name], compression) for name in datasets for compression in compressions]
    for video_set, compression in wanted:
        paths, others = _videos_in(folder_of(root, video_set, compression))
        strays += others
        for path in paths[:num_videos]:
            video = identify(path, video_set, compression)
            if video.video_id in videos:
                strays.append(path)
            videos.setdefault(video.video_id, video)
    folders = {folder_of(root, video_set, compression) for video_set, compression in wanted}
    ordered = tuple(videos[video_id] for video_id in sorted(videos))
    return Listing(root, ordered, tuple(strays), _left_out(root, folders))


def printable(text: str) -> str:
    """Return ``text`` with everything that a table or a page cannot hold written out as an escape."""
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def _videos_in(folder: Path) -> tuple[list[Path], list[Path]]:
    if not folder.is_dir():
        return [], []
    visible = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    videos = [path for path in visible if path.suffix.lower() == SUFFIX and not path.is_dir()]
    return videos, [path for path in visible if path not in set(videos)]


def _left_out(root: Path, wanted: Iterable[Path]) -> dict[str, int]:
    known = set(wanted)
    counts: dict[str, int] = {}
    for folder in sorted(root.glob("*_sequences/*/*/videos")):
        if folder not in known and folder.parent.name != MASKS:
            videos, _ = _videos_in(folder)
            if videos:
                counts[folder.relative_to(root).as_posix()] = len(videos)
    return counts
