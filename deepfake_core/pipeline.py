"""The way of the data: every stage in order, with the parts of the configuration it takes.

``deepfake run``, ``deepfake demo`` and the flows share this list. A stage that is done under the same configuration
is not even imported, where that can be told from outside: a second run of finished work costs seconds.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from deepfake_core import files, receipts
from deepfake_core.config import Config
from deepfake_core.progress import SILENT, Progress
from deepfake_core.report import StageReport
from deepfake_core.stages import STAGES
from deepfake_core.workspace import Workspace

ASKED_ALWAYS = frozenset({"sample", "download", "split", "extract", "validate", "score"})
"""Stages that are asked even where their receipt says done, for only they can tell: they read files outside the
workspace (a source tree, split lists, suites), or made files beside their tables, which may be lost (videos, faces)."""


def stage_names(config: Config) -> tuple[str, ...]:
    """Return the stages that ``config`` takes, in order: all of them, ``sample`` only where it is enabled."""
    return tuple(stage.name for stage in STAGES if stage.name != "sample" or config.sample.enabled)


def run_pipeline(workspace: Workspace, config: Config, *, progress: Progress = SILENT) -> Iterator[StageReport]:
    """Run all stages in order, yielding the report of each as it ends.

    Raises:
        DeepfakeError: a stage failed or a gate refused; what was finished stays finished.
    """
    refuse_impossible_split(workspace, config)
    for name in stage_names(config):
        yield run_stage(name, workspace, config, progress=progress)


def refuse_impossible_split(workspace: Workspace, config: Config) -> None:
    """Refuse split lists that do not fit the videos at hand, by their names alone, before any work.

    The names of what the servers of FaceForensics++ will give are not known yet: there it is the lists alone.

    Raises:
        SplitError: see ``split_videos``.
    """
    from deepfake_core.data.download import list_directory
    from deepfake_core.data.split import foresee_lists, foresee_split

    source = config.download.path or workspace.videos
    if config.download.source == "directory":
        videos = list_directory(workspace, config=config.download)
        if videos.num_rows:
            foresee_split(workspace, videos, source=source, config=config.split)
    elif workspace.terms.is_file():  # without them nothing is downloaded, and the download says so at once
        foresee_lists(workspace, source=source, config=config.split)


def run_stage(name: str, workspace: Workspace, config: Config, *, progress: Progress = SILENT) -> StageReport:
    """Run one stage, or find it done.

    Raises:
        DeepfakeError: the stage failed, its gate refused, or a stage that it reads is missing or stale.
    """
    found = find_done(name, workspace, config)
    return found or _RUN[name](workspace, config, progress)


def find_done(name: str, workspace: Workspace, config: Config) -> StageReport | None:
    """Return the report of a stage that is done under this configuration, as far as can be told from here, else None.

    It spares the import of the stage's libraries, such as TensorFlow's.
    """
    if name in ASKED_ALWAYS:
        return None
    standing = receipts.state_of(workspace, name, config=config.section(name))
    if standing.state != "done" or standing.receipt is None:
        return None
    if name == "records" and not _records_are_whole(workspace):
        return None
    return standing.receipt.report.model_copy(update={"outcome": "found", "seconds": 0.0})


def _records_are_whole(workspace: Workspace) -> bool:
    from deepfake_core.data.records_index import shards_are_whole

    return shards_are_whole(workspace)


def _sample(workspace: Workspace, config: Config, progress: Progress) -> StageReport:
    from deepfake_core.sample import sample_videos

    return sample_videos(workspace, config=config.sample, progress=progress)


def _download(workspace: Workspace, config: Config, progress: Progress) -> StageReport:
    from deepfake_core.data.download import download_videos

    return download_videos(workspace, config=config.download, progress=progress)


def _split(workspace: Workspace, config: Config, progress: Progress) -> StageReport:
    from deepfake_core.data.split import split_videos

    return split_videos(workspace, config=config.split, progress=progress)


def _extract(workspace: Workspace, config: Config, progress: Progress) -> StageReport:
    from deepfake_core.data.extract import extract_faces

    return extract_faces(workspace, config=config.extract, progress=progress)


def _validate(workspace: Workspace, config: Config, progress: Progress) -> StageReport:
    from deepfake_core.data.validate import validate_data

    return validate_data(workspace, config=config.validate_, progress=progress)


def _records(workspace: Workspace, config: Config, progress: Progress) -> StageReport:
    from deepfake_core.data.records import write_records

    return write_records(workspace, config=config.records, progress=progress)


def _train(workspace: Workspace, config: Config, progress: Progress) -> StageReport:
    from deepfake_core.model.train import train_model

    return train_model(workspace, config=config.train, tracking=config.tracking, name=config.name, progress=progress)


def _export(workspace: Workspace, config: Config, progress: Progress) -> StageReport:
    from deepfake_core.model.export import export_model

    return export_model(workspace, config=config.export, tracking=config.tracking, progress=progress)


def _evaluate(workspace: Workspace, config: Config, progress: Progress) -> StageReport:
    from deepfake_core.evaluate import evaluate_model

    return evaluate_model(workspace, config=config.evaluate, tracking=config.tracking, progress=progress)


def _register(workspace: Workspace, config: Config, _: Progress) -> StageReport:
    from deepfake_core.serving.registry import register_model

    return register_model(workspace, config=config.register_, tracking=config.tracking)


def _promote(workspace: Workspace, config: Config, progress: Progress) -> StageReport:
    from deepfake_core.serving.gate import promote_model

    return promote_model(
        workspace,
        config=config.promote,
        register=config.register_,
        tracking=config.tracking,
        progress=progress,
    )


def _score(workspace: Workspace, config: Config, progress: Progress) -> StageReport:
    """Score the configured paths, or the videos of the test split, with the model in production."""
    from deepfake_core.serving.inputs import find_videos
    from deepfake_core.serving.registry import resolve_model
    from deepfake_core.serving.score import score_videos

    paths = config.score.paths or tuple(_test_videos(workspace))
    videos = find_videos(paths)
    model = resolve_model(workspace, uri=None, config=config.register_, tracking=config.tracking)
    # A rollback changes what is in production without any stage having run.
    external = {"videos": _listing_digest(videos), "model": files.sha256_of_file(model.path)}
    with receipts.open_stage(workspace, "score", config=config.score, external=external) as work:
        if work.found:
            return work.found
        output = workspace.scores / "scores.parquet"
        report = score_videos(
            videos,
            model=model.path,
            output=output,
            config=config.score,
            folder=workspace.scores,
            model_name=model.name,
            model_version=model.version,
            progress=progress,
        )
        return work.finish(report, outputs=[output])


def _test_videos(workspace: Workspace) -> Iterator[Path]:
    from deepfake_core import tables

    wanted = tables.read(workspace.splits_table, schema=tables.SPLITS)
    test = {row["video_id"] for row in wanted.to_pylist() if row["split"] == "test"}
    videos = tables.read(workspace.videos_table, schema=tables.VIDEOS, columns=["video_id", "path"])
    for row in videos.to_pylist():
        if row["video_id"] in test:
            yield workspace.resolve(row["path"])


def _listing_digest(videos: list[Path]) -> str:
    stats = [(str(path), path.stat()) for path in videos if path.is_file()]
    return files.sha256_of_values([(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats])


_RUN: dict[str, Callable[[Workspace, Config, Progress], StageReport]] = {
    "sample": _sample,
    "download": _download,
    "split": _split,
    "extract": _extract,
    "validate": _validate,
    "records": _records,
    "train": _train,
    "export": _export,
    "evaluate": _evaluate,
    "register": _register,
    "promote": _promote,
    "score": _score,
}
