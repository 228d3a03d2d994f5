"""Generate the embedded data set: FaceForensics++-shaped videos of people who do not exist.

Below the folder: ``original_sequences/youtube/<compression>/videos/000.mp4``,
``manipulated_sequences/<method>/<compression>/videos/000_001.mp4`` (target_source), the official-style lists in
``splits/``, and ``sample.json`` with the digest of every video. Two people that are swapped are one job of one process;
a job leaves a receipt in ``.sample/``, and a finished one is not done again.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from deepfake_core import files, receipts
from deepfake_core.config import SampleConfig
from deepfake_core.errors import ConfigError, DeepfakeError, WorkspaceBusy
from deepfake_core.faces.workers import supervise
from deepfake_core.progress import SILENT, Progress
from deepfake_core.report import StageReport
from deepfake_core.sample import layout
from deepfake_core.sample.layout import Pair
from deepfake_core.sample.pair import generate_pair, videos_of
from deepfake_core.stages import stage_named
from deepfake_core.workspace import Workspace

INDEX = "sample.json"
RECEIPTS = ".sample"

# A guard against a process that hangs, no budget: a pair of 16 frames takes two seconds and 300 MiB.
SECONDS_PER_PAIR = 3600.0
MEMORY_MB = 16384

Digests = dict[str, str]
"""SHA-256 of each video by its path below the data set's folder."""


def sample_videos(workspace: Workspace, *, config: SampleConfig, progress: Progress = SILENT) -> StageReport:
    """Generate the embedded data set into the videos of ``workspace``.

    Raises:
        ConfigError: the folder of videos holds something else.
        WorkspaceBusy: another process generates there.
    """
    with receipts.open_stage(workspace, "sample", config=config) as work:
        if work.found and _is_whole(workspace.videos):
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
        DeepfakeError: a process could not make its videos.
    """
    began = time.monotonic()
    _refuse_strangers(directory)
    with _locked(directory):
        files.sweep_temporaries(directory)
        pairs = layout.pairs(config.identities)
        made = {pair: digests for pair in pairs if (digests := _finished(directory, pair, config=config))}
        kept = len(made)
        to_do = [pair for pair in pairs if pair not in made]
        if to_do:
            (directory / INDEX).unlink(missing_ok=True)
            made |= _generate(directory, to_do, config=config, progress=progress)
        _remove_leftovers(directory, pairs=pairs)
        _write_lists(directory, config=config)
        videos = {path: digest for pair in pairs for path, digest in sorted(made[pair].items())}
        files.write_json(directory / INDEX, {"digest": _digest(config), "videos": videos})
    return StageReport(
        stage="sample",
        counts=_counts(config),
        notes=(f"kept {kept} of {len(pairs)} pairs that an earlier run finished",) if kept else (),
        outputs={"videos": str(directory), "index": str(directory / INDEX)},
        seconds=time.monotonic() - began,
    )


def _is_whole(directory: Path) -> bool:
    return all((directory / path).is_file() for path in files.read_json(directory / INDEX)["videos"])


def _refuse_strangers(directory: Path) -> None:
    if directory.is_file():
        message = f"{directory} is a file; the sample needs a folder. Choose another one."
        raise ConfigError(message)
    if not directory.is_dir() or (directory / RECEIPTS).is_dir():
        return
    strangers = sorted(path.name for path in directory.iterdir())
    if strangers:
        message = (
            f"{directory} holds something that the sample could overwrite (found: {', '.join(strangers[:5])}). "
            "Choose a new or empty folder."
        )
        raise ConfigError(message)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    folder = directory / RECEIPTS
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"cannot write into {directory}: {error.strerror or error}. Choose another folder."
        raise ConfigError(message) from error
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        message = f"another process generates the sample in {directory}. Wait for it, or choose another folder."
        raise WorkspaceBusy(message) from None
    try:
        yield
    finally:
        lock.release()


def _digest(config: SampleConfig) -> str:
    return files.sha256_of_values({"config": config.fingerprint_values(), "schema": stage_named("sample").schema})


def _receipt_path(directory: Path, pair: Pair) -> Path:
    return directory / RECEIPTS / f"{layout.name_of(pair[0])}_{layout.name_of(pair[1])}.json"


def _finished(directory: Path, pair: Pair, *, config: SampleConfig) -> Digests | None:
    """Return the videos of a pair that an earlier run finished, if they are whole and of this configuration."""
    path = _receipt_path(directory, pair)
    if not path.is_file():
        return None
    receipt = files.read_json(path)
    digests: Digests = receipt["videos"]
    if receipt["digest"] != _digest(config):
        return None
    whole = all(
        (directory / video).is_file() and files.sha256_of_file(directory / video) == digest
        for video, digest in digests.items()
    )
    return digests if whole else None


def _generate(directory: Path, to_do: list[Pair], *, config: SampleConfig, progress: Progress) -> dict[Pair, Digests]:
    jobs = {layout.name_of(pair[0]): pair for pair in to_do}
    videos_a_pair = len(videos_of(to_do[0], config=config))
    made: dict[Pair, Digests] = {}
    with progress.bar("generating the sample", total=len(to_do) * videos_a_pair, unit="videos") as bar:
        outcomes = supervise(
            jobs.items(),
            function=_make_pair,
            setup=_same,
            setup_argument=(directory, config),
            workers=min(config.workers or os.cpu_count() or 1, len(to_do)),
            seconds_per_job=SECONDS_PER_PAIR,
            memory_mb=MEMORY_MB,
        )
        for outcome in outcomes:
            if outcome.status != "ok":
                message = f"the videos of person {outcome.key} and their partner were not made: {outcome.reason}."
                raise DeepfakeError(message)
            made[jobs[outcome.key]] = outcome.value
            bar.advance(videos_a_pair)
    return made


def _same(argument: Any) -> Any:
    return argument


def _make_pair(state: tuple[Path, SampleConfig], pair: Pair) -> Digests:
    """Do one job: the receipt says first which videos are coming, then which came."""
    directory, config = state
    path = _receipt_path(directory, pair)
    coming = {video.as_posix(): "" for video in videos_of(pair, config=config)}
    files.write_json(path, {"digest": "", "videos": _promised(path) | coming})
    digests = generate_pair(directory, pair, config=config)
    _remove(directory, _promised(path).keys() - digests.keys())
    files.write_json(path, {"digest": _digest(config), "videos": digests})
    return digests


def _promised(receipt: Path) -> Digests:
    """Return the videos that a receipt speaks of, finished or not."""
    videos: Digests = files.read_json(receipt)["videos"] if receipt.is_file() else {}
    return videos


def _remove(directory: Path, videos: set[str]) -> None:
    for video in videos:
        (directory / video).unlink(missing_ok=True)


def _remove_leftovers(directory: Path, *, pairs: tuple[Pair, ...]) -> None:
    """Remove the people that an earlier, larger configuration made; nothing that this module did not make."""
    wanted = {_receipt_path(directory, pair) for pair in pairs}
    for receipt in sorted((directory / RECEIPTS).glob("*.json")):
        if receipt not in wanted:
            _remove(directory, set(_promised(receipt)))
            receipt.unlink()


def _write_lists(directory: Path, *, config: SampleConfig) -> None:
    for split, pairs in layout.split_lists(config.identities, seed=config.seed).items():
        files.write_json(directory / "splits" / f"{split}.json", pairs)
    table = layout.conversion_table(config.identities, seed=config.seed)
    files.write_json(directory / "splits" / "conversion_dict.json", table)


def _counts(config: SampleConfig) -> dict[str, int]:
    originals = config.identities * len(config.compressions)
    return {
        "identities": config.identities,
        "pairs": config.identities // 2,
        "originals": originals,
        "fakes": originals * len(config.methods),
    }
