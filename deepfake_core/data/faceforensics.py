"""The download protocol of FaceForensics++, as its own script speaks it.

::

    <server>/webpage/FaceForensics_TOS.pdf                     the terms of use
    <server>/v3/misc/filelist.json                             pairs of people, [["585", "599"], …]
    <server>/v3/misc/deepfake_detection_filenames.json         names of the actors' videos
    <server>/v3/<folder>/<compression>/videos/<name>.mp4       a video; the folders are those of ``layout``
    <server>/v3/<folder>/masks/videos/<name>.mp4               the mask of a manipulation

The servers are slow and break off, refuse more than about four connections, and publish no checksums.
"""

import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from deepfake_core import files
from deepfake_core.config import DownloadConfig
from deepfake_core.data.fetch import NotOnServer, Patience, TransferBroken
from deepfake_core.data.layout import (
    LONGEST_NAME_BYTES,
    MASKS,
    ORIGINAL,
    SUFFIX,
    VIDEO_SETS,
    VideoFile,
    VideoSet,
    folder_of,
    identify,
)
from deepfake_core.data.pace import Pace, in_bytes
from deepfake_core.data.servers import Fetcher, Servers
from deepfake_core.errors import DownloadError
from deepfake_core.progress import SILENT, Progress, track

SERVERS = {
    "EU2": "http://kaldir.vc.in.tum.de/faceforensics/",
    "EU": "http://canis.vc.in.tum.de:8100/",
    "CA": "http://falas.cmpt.sfu.ca:8100/",
}
VERSION_FOLDER = "v3/"
TERMS = "webpage/FaceForensics_TOS.pdf"
PAIRS = "misc/filelist.json"
ACTORS = "misc/deepfake_detection_filenames.json"
ACTORS_KEYS = {"DeepFakeDetection_original": "actors", "DeepFakeDetection": "DeepFakesDetection"}  # sic

USUAL_BYTES = {"raw": 100e6, "c23": 2e6, "c40": 0.4e6, MASKS: 0.5e6}
"""Of one file, where the server does not tell."""
ASKED_FOR_LENGTH = 3
"""Files of each folder whose length is asked for before the start."""
SPARE = 1.05
CONNECT_SECONDS = 20.0
_SAFE_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_-]{{0,{LONGEST_NAME_BYTES - 1}}}")


@dataclass(frozen=True)
class Wanted:
    """One file of the server.

    Attributes:
        relative: its place below ``v3/``.
        path: where it goes.
        kind: the compression, or ``masks``.
    """

    relative: str
    path: Path
    kind: str


def server_urls(config: DownloadConfig) -> tuple[str, ...]:
    """Return the base URLs in the order in which they are asked, each with a slash at its end."""
    if config.server_url is not None:
        return (config.server_url.rstrip("/") + "/",)
    others = [name for name in SERVERS if name != config.server]
    return tuple(SERVERS[name] for name in (config.server, *others))


def terms_url(config: DownloadConfig) -> str:
    """Return where the terms of use can be read."""
    return server_urls(config)[0] + TERMS


@contextmanager
def open_fetcher(config: DownloadConfig) -> Iterator[Fetcher]:
    """Open the connections; closing ends what is still under way."""
    timeout = httpx.Timeout(config.timeout_seconds, connect=min(config.timeout_seconds, CONNECT_SECONDS), pool=None)
    limits = httpx.Limits(max_connections=config.connections)
    patience = Patience(config.attempts, config.backoff_seconds)
    with httpx.Client(timeout=timeout, limits=limits, follow_redirects=True) as client:
        try:
            yield Fetcher(client, Servers([url + VERSION_FOLDER for url in server_urls(config)]), patience)
        finally:
            patience.stop.set()


def read_names(fetcher: Fetcher, root: Path, *, datasets: Sequence[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Return the names of the videos of each set, and remarks.

    Each list is asked for once. The lists are kept at ``misc/`` below ``root``; they serve when no server answers.

    Raises:
        DownloadError: no server gives a list, or a list holds no name or what is none.
    """
    sources = {dataset: ACTORS if dataset in ACTORS_KEYS else PAIRS for dataset in datasets}
    paths = {source: root / source for source in sources.values()}
    try:
        lists = {source: _read_list(fetcher, path, source) for source, path in paths.items()}
        names = {
            dataset: list(dict.fromkeys(_names(lists[source][0], VIDEO_SETS[dataset], source)))
            for dataset, source in sources.items()
        }
        if not any(names.values()):
            message = (
                f"{' and '.join(paths)} of the server lists no video of {', '.join(datasets)}. Try again later, or "
                "give another --server."
            )
            raise DownloadError(message)
        for path in paths.values():  # only now: no list of an earlier run gives way to one that is none
            if _fresh(path).exists():
                _fresh(path).replace(path)
    finally:
        for path in paths.values():
            _fresh(path).unlink(missing_ok=True)
    return names, [note for _, note in lists.values() if note]


def _fresh(path: Path) -> Path:
    """Return where a list lies until it is known to be one."""
    return path.with_name(f".{path.name}.new")


def _read_list(fetcher: Fetcher, path: Path, source: str) -> tuple[Any, str]:
    _fresh(path).unlink(missing_ok=True)  # of a run that was killed
    try:
        fetcher.fetch(source, _fresh(path))
    except (NotOnServer, TransferBroken) as error:
        if not path.exists():
            asked = ", ".join(fetcher.asked(source))
            message = f"no server gives {source} (asked: {asked}): {error}. Try again later, or give another --server."
            raise DownloadError(message) from error
        hint = "Remove it, and try again later"
        note = f"no server gives {source} now ({error}); the one of an earlier run is used"
        return _read_json(path, what=f"{path}, of an earlier run,", hint=hint), note
    return _read_json(_fresh(path), what=f"{source} of the server", hint="Is this a FaceForensics++ server?"), ""


def _read_json(path: Path, *, what: str, hint: str) -> Any:
    try:
        return files.read_json(path)
    except (ValueError, RecursionError) as error:
        message = f"{what} is no JSON: {error}. {hint}"
        raise DownloadError(message) from error


def _names(values: Any, video_set: VideoSet, source: str) -> list[str]:
    if video_set.name in ACTORS_KEYS:
        key = ACTORS_KEYS[video_set.name]
        listed = values.get(key) if isinstance(values, Mapping) else None
        names = _strings(listed, f"{source} of the server must hold a list of names at {key!r}")
    else:
        pairs = values if isinstance(values, list) else [None]
        rule = f"{source} of the server must be a list of pairs of names"
        both = [tuple(_strings(pair, rule, length=2)) for pair in pairs]
        if video_set.method == ORIGINAL:
            names = [name for pair in both for name in pair]
        else:
            names = ["_".join(people) for pair in both for people in (pair, pair[::-1])]
    for name in names:
        if not _SAFE_NAME.fullmatch(name):
            message = (
                f"{source} of the server names {_short(name)}; a name may hold only letters, digits, '_' and '-', and "
                f"at most {LONGEST_NAME_BYTES} of them, so that it is a file's name and no file leaves its folder. "
                "Nothing was fetched. Is this a FaceForensics++ server?"
            )
            raise DownloadError(message)
    return names


def _strings(values: Any, rule: str, *, length: int | None = None) -> list[str]:
    right = isinstance(values, list) and all(isinstance(value, str) for value in values)
    if not right or (length is not None and len(values) != length):
        message = f"{rule}. Received: {str(values)[:80]}"
        raise DownloadError(message)
    return list(values)


def _short(name: str) -> str:
    return repr(name) if len(name) <= LONGEST_NAME_BYTES else f"{name[:60]!r}… of {len(name):,} characters"


def wanted_videos(names: Mapping[str, Sequence[str]], root: Path, *, config: DownloadConfig) -> list[VideoFile]:
    """Return the videos to have, at their places below ``root``, in the order of the server's lists."""
    return [
        identify(
            folder_of(root, VIDEO_SETS[dataset], compression) / f"{name}{SUFFIX}", VIDEO_SETS[dataset], compression
        )
        for dataset in config.datasets
        for compression in config.compressions
        for name in names[dataset][: config.num_videos]
    ]


def wanted_masks(videos: Iterable[VideoFile], root: Path) -> list[VideoFile]:
    """Return the masks of the manipulated videos, as videos of the "compression" ``masks``; one serves all others."""
    masks = (
        identify(folder_of(root, video.video_set, MASKS) / video.path.name, video.video_set, MASKS)
        for video in videos
        if video.video_set.has_masks
    )
    return list({mask.video_id: mask for mask in masks}.values())


def wanted(video: VideoFile, root: Path) -> Wanted:
    """Return where a video or mask lies on the server and where it goes."""
    return Wanted(video.path.relative_to(root).as_posix(), video.path, video.compression)


def refuse_full_disk(fetcher: Fetcher, todo: Sequence[Wanted], root: Path, *, progress: Progress = SILENT) -> float:
    """Return about how many bytes will come; refuse to start when they do not fit.

    Raises:
        DownloadError: the disk has less room.
    """
    folders: dict[str, list[Wanted]] = {}
    for item in todo:
        folders.setdefault(item.relative.rpartition("/")[0], []).append(item)
    chosen = [item for items in folders.values() for item in items[:: max(1, len(items) // ASKED_FOR_LENGTH)]]
    asked = track(chosen, progress, "ask for lengths", total=len(chosen), unit="files")
    told = {item.path: length for item in asked if (length := fetcher.length(item.relative)) is not None}
    needed = sum(_mean_length(items, told) * len(items) for items in folders.values())
    free = shutil.disk_usage(root).free
    if needed * SPARE > free:
        message = (
            f"the download needs about {in_bytes(needed)}, and {in_bytes(free)} are free at {root}. Free some space, "
            "or take less: download.compressions, download.datasets, --num-videos."
        )
        raise DownloadError(message)
    return needed


def _mean_length(items: Sequence[Wanted], told: Mapping[Path, int]) -> float:
    lengths = [told[item.path] for item in items if item.path in told]
    return sum(lengths) / len(lengths) if lengths else USUAL_BYTES[items[0].kind]


def fetch_files(
    fetcher: Fetcher, todo: Sequence[Wanted], *, root: Path, connections: int, progress: Progress
) -> dict[Path, DownloadError]:
    """Fetch files over several connections; return why some could not be had.

    Raises:
        DownloadError: the disk has no room, or nothing can be written any more.
    """
    failures: dict[Path, DownloadError] = {}
    pace = Pace(expected_bytes=refuse_full_disk(fetcher, todo, root, progress=progress))
    with (
        progress.bar("download", total=len(todo), unit="files") as bar,
        ThreadPoolExecutor(max_workers=connections, thread_name_prefix="download") as pool,
    ):
        running = {pool.submit(fetcher.fetch, item.relative, item.path, on_bytes=pace.add): item.path for item in todo}
        try:
            for future in _as_they_end(running, on_tick=lambda: bar.say(pace.remark())):
                try:
                    future.result()
                except (NotOnServer, TransferBroken) as error:
                    failures[running[future]] = error
                bar.advance()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            fetcher.hang_up()
            raise
    return failures


def _as_they_end(futures: Iterable[Future[None]], *, on_tick: Callable[[], None]) -> Iterator[Future[None]]:
    left = set(futures)
    while left:
        ended, left = wait(left, timeout=1.0, return_when=FIRST_COMPLETED)
        on_tick()
        yield from ended
