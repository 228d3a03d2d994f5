"""Generate the embedded data set: FaceForensics++-shaped videos of people who do not exist.

Below the folder: ``original_sequences/youtube/<compression>/videos/000.mp4``,
``manipulated_sequences/<method>/<compression>/videos/000_001.mp4`` (target_source), the official-style lists in
``splits/``, and ``sample.json`` with the digest of every video. Two people that are swapped are one job of one process;
a finished job leaves a receipt in ``.sample/`` and is not done again.
"""

import multiprocessing
import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import cv2
from filelock import FileLock, Timeout

from deepfake_core import files, receipts
from deepfake_core.config import SampleConfig
from deepfake_core.errors import ConfigError, WorkspaceBusy
from deepfake_core.progress import SILENT, Progress
from deepfake_core.report import StageReport
from deepfake_core.sample import layout
from deepfake_core.sample.encoding import write_videos
from deepfake_core.sample.layout import Pair
from deepfake_core.sample.manipulations import Shot, manipulate
from deepfake_core.sample.motion import moments
from deepfake_core.sample.people import person
from deepfake_core.sample.render import make_actor, render_frames
from deepfake_core.stages import stage_named
from deepfake_core.workspace import Workspace

INDEX = "sample.json"
RECEIPTS = ".sample"


def sample_videos(workspace: Workspace, *, config: SampleConfig, progress: Progress = SILENT) -> StageReport:
    """Generate the embedded data set into the videos of ``workspace``.

    Raises:
        ConfigError: the folder of videos holds something else.
        WorkspaceBusy: another process generates there.
    """
    with receipts.open_stage(workspace, "sample", config=config) as work:
        if work.found:
            return work.found
        report = generate_sample(workspace.videos, config=config, progress=progress)
        return work.finish(report, outputs=[workspace.videos / INDEX])


def generate_sample(directory: Path, *, config: SampleConfig, progress: Progress = SILENT) -> StageReport:
    """Generate the embedded data set into ``directory``.

    The result depends on ``config`` alone, not on the number of workers. Killed at any moment and called again, it
    keeps the pairs that were finished; under another configuration everything is made again.

    Args:
        directory: a new or empty folder, or one that this function filled before.
        config: sizes, seed and number of processes.
        progress: shows a bar of videos.

    Raises:
        ConfigError: ``directory`` holds something else.
        WorkspaceBusy: another process generates into the same folder.
    """
    began = time.monotonic()
    _refuse_strangers(directory)
    (directory / RECEIPTS).mkdir(parents=True, exist_ok=True)
    lock = FileLock(directory / RECEIPTS / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        message = f"another process is generating the sample in {directory}. Wait for it, or choose another folder."
        raise WorkspaceBusy(message) from None
    try:
        files.sweep_temporaries(directory)
        digest = _digest(config)
        wanted = layout.pairs(config.identities)
        found = {pair: made for pair in wanted if (made := _finished(directory, pair, digest)) is not None}
        to_do = [pair for pair in wanted if pair not in found]
        made = dict(found)
        if to_do:
            (directory / INDEX).unlink(missing_ok=True)
            made |= dict(_generate(directory, to_do, config=config, digest=digest, progress=progress))
        videos = {path: sha256 for pair in wanted for path, sha256 in sorted(made[pair].items())}
        _remove_leftovers(directory, keep=set(videos), pairs=wanted)
        _write_lists(directory, config=config)
        files.write_json(directory / INDEX, {"digest": digest, "config": config.fingerprint_values(), "videos": videos})
    finally:
        lock.release()
    return _report(directory, config=config, videos=videos, found=len(found), seconds=time.monotonic() - began)


def generate_pair(directory: Path, pair: Pair, *, config: SampleConfig) -> dict[str, str]:
    """Make every video of two people; return the SHA-256 of each by its path below ``directory``."""
    size = {"width": config.width, "height": config.height}
    people = [person(number, seed=config.seed) for number in pair]
    actors = [make_actor(one, **size) for one in people]
    motions = [moments(one, frames=config.frames, fps=config.fps, **size) for one in people]
    videos: dict[str, str] = {}
    for target, source in ((0, 1), (1, 0)):
        frames, surfaces = render_frames(actors[target], motions[target], **size)
        paths = {c: layout.original_path(pair[target], c) for c in config.compressions}
        videos |= _write(directory, paths, frames, fps=config.fps)
        shots = [
            Shot(actors[target], actors[source], *parts)
            for parts in zip(frames, motions[target], motions[source], surfaces, strict=True)
        ]
        for method in config.methods:
            paths = {c: layout.fake_path(method, pair[target], pair[source], c) for c in config.compressions}
            videos |= _write(directory, paths, manipulate(shots, method, seed=config.seed), fps=config.fps)
    return videos


def _write(directory: Path, paths: dict[str, Path], frames: list[Any], *, fps: int) -> dict[str, str]:
    write_videos({compression: directory / path for compression, path in paths.items()}, frames, fps=fps)
    return {path.as_posix(): files.sha256_of_file(directory / path) for path in paths.values()}


def _digest(config: SampleConfig) -> str:
    values = config.model_dump(mode="json", exclude={"enabled", "workers"})
    return files.sha256_of_values({"config": values, "schema": stage_named("sample").schema})


def _refuse_strangers(directory: Path) -> None:
    if directory.is_file():
        message = f"{directory} is a file; the sample needs a folder. Choose another one."
        raise ConfigError(message)
    if not directory.is_dir() or (directory / RECEIPTS).is_dir():
        return
    strangers = sorted(path.name for path in directory.iterdir())
    if strangers:
        message = (
            f"{directory} holds something else (found: {', '.join(strangers[:5])}), which the sample could overwrite. "
            "Choose an empty folder."
        )
        raise ConfigError(message)


def _receipt_path(directory: Path, pair: Pair) -> Path:
    return directory / RECEIPTS / f"{layout.name_of(pair[0])}_{layout.name_of(pair[1])}.json"


def _finished(directory: Path, pair: Pair, digest: str) -> dict[str, str] | None:
    """Return the videos of a pair that an earlier run finished, if they are whole and of this configuration."""
    path = _receipt_path(directory, pair)
    if not path.is_file():
        return None
    receipt = files.read_json(path)
    if receipt["digest"] != digest:
        return None
    videos: dict[str, str] = receipt["videos"]
    whole = all(
        (directory / video).is_file() and files.sha256_of_file(directory / video) == sha256
        for video, sha256 in videos.items()
    )
    return videos if whole else None


def _generate(
    directory: Path, to_do: list[Pair], *, config: SampleConfig, digest: str, progress: Progress
) -> Iterator[tuple[Pair, dict[str, str]]]:
    workers = min(config.workers or _cores(), len(to_do))
    videos_a_pair = 2 * (1 + len(config.methods)) * len(config.compressions)
    # spawned, not forked: a caller's TensorFlow threads do not survive a fork
    context = multiprocessing.get_context("spawn")
    with (
        progress.bar("generating the sample", total=len(to_do) * videos_a_pair, unit="videos") as bar,
        ProcessPoolExecutor(workers, mp_context=context, initializer=cv2.setNumThreads, initargs=(1,)) as pool,
    ):
        jobs = {pool.submit(_job, directory, pair, config, digest): pair for pair in to_do}
        try:
            for job in as_completed(jobs):
                yield jobs[job], job.result()
                bar.advance(videos_a_pair)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _job(directory: Path, pair: Pair, config: SampleConfig, digest: str) -> dict[str, str]:
    path = _receipt_path(directory, pair)
    path.unlink(missing_ok=True)
    videos = generate_pair(directory, pair, config=config)
    files.write_json(path, {"digest": digest, "videos": videos})
    return videos


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _remove_leftovers(directory: Path, *, keep: set[str], pairs: tuple[Pair, ...]) -> None:
    """Remove the videos that an earlier, larger configuration left behind."""
    for path in directory.rglob("*.mp4"):
        if path.relative_to(directory).as_posix() not in keep:
            path.unlink()
    current = {_receipt_path(directory, pair) for pair in pairs}
    for path in (directory / RECEIPTS).glob("*.json"):
        if path not in current:
            path.unlink()


def _write_lists(directory: Path, *, config: SampleConfig) -> None:
    for split, pairs in layout.split_lists(config.identities, seed=config.seed).items():
        files.write_json(directory / "splits" / f"{split}.json", pairs)
    table = layout.conversion_table(config.identities, seed=config.seed)
    files.write_json(directory / "splits" / "conversion_dict.json", table)


def _report(
    directory: Path, *, config: SampleConfig, videos: dict[str, str], found: int, seconds: float
) -> StageReport:
    originals = config.identities * len(config.compressions)
    return StageReport(
        stage="sample",
        counts={"identities": config.identities, "originals": originals, "fakes": len(videos) - originals},
        notes=(f"kept {found} finished pairs of an earlier run",) if found else (),
        outputs={"videos": str(directory), "index": str(directory / INDEX)},
        seconds=seconds,
    )
