"""The whole way of the data as a Prefect flow: one task a stage, and one task a shard of videos in the extraction.

The tasks call the same functions as the command line. Without a server Prefect starts its embedded one::

    python -m flows.pipeline --config deploy/configs/demo.yaml --workspace workspace
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.futures import wait
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from deepfake_core import pipeline
from deepfake_core.config import Config
from deepfake_core.config_file import load_config
from deepfake_core.report import StageReport
from deepfake_core.workspace import Workspace
from flows.progress import ArtifactProgress


@task(name="stage", task_run_name="{name}", persist_result=False)
def run_stage(name: str, workspace: Path, config: Config) -> StageReport:
    """Run one stage, or find it done."""
    report = pipeline.run_stage(name, Workspace.open(workspace), config, progress=ArtifactProgress())
    get_run_logger().info("%s: %s %s", name, report.outcome, report.counts)
    return report


@task(name="plan-extraction", persist_result=False)
def plan_shards(workspace: Path, config: Config) -> tuple[tuple[str, ...], ...]:
    """Return the shards of videos whose faces are still to be extracted; none where the stage is done."""
    from deepfake_core.data.extract import plan_extraction

    return plan_extraction(Workspace.open(workspace), config=config.extract)


@task(name="extract-shard", task_run_name="extract-shard-{number}", persist_result=False)
def extract_shard(number: int, video_ids: Sequence[str], workspace: Path, config: Config) -> int:
    """Extract the faces of one shard of videos; a bad video is a row with a reason, never a failed task."""
    from deepfake_core.data.extract import extract_shard as extract

    extract(Workspace.open(workspace), config=config.extract, video_ids=tuple(video_ids), progress=ArtifactProgress())
    get_run_logger().info("shard %d: %d videos", number, len(video_ids))
    return len(video_ids)


@task(name="stage", task_run_name="extract", persist_result=False)
def collect_faces(workspace: Path, config: Config) -> StageReport:
    """Make the tables of the extraction from what all shards left."""
    from deepfake_core.data.extract import collect_extraction

    report = collect_extraction(Workspace.open(workspace), config=config.extract, progress=ArtifactProgress())
    get_run_logger().info("extract: %s %s", report.outcome, report.counts)
    return report


# One shard at a time: each one keeps all cores busy with workers of its own. On a cluster, give the flow another
# runner: ``run_pipeline.with_options(task_runner=DaskTaskRunner(address=…))``.
ONE_SHARD_AT_A_TIME: TaskRunner[Any] = ThreadPoolTaskRunner(max_workers=1)


@flow(name="deepfake-pipeline", task_runner=ONE_SHARD_AT_A_TIME)
def run_pipeline(config: Config, workspace: Path) -> list[StageReport]:
    """Run every stage in order.

    Args:
        config: the configuration, as ``deepfake config`` prints it.
        workspace: folder that holds everything made; created when needed.

    Returns:
        The reports of the stages.

    Raises:
        DeepfakeError: a stage failed or a gate refused; what was finished stays finished.
    """
    pipeline.refuse_impossible_split(Workspace.open(workspace), config)
    reports = [
        _extract(workspace, config) if name == "extract" else run_stage(name, workspace, config)
        for name in pipeline.stage_names(config)
    ]
    create_table_artifact(key="deepfake-pipeline", table=[_row(report) for report in reports], description="Stages")
    return reports


def _extract(workspace: Path, config: Config) -> StageReport:
    """Let the task runner work through the shards, then collect their files; no video is tried twice."""
    shards = plan_shards(workspace, config)
    futures = [extract_shard.submit(number, shard, workspace, config) for number, shard in enumerate(shards)]
    wait(futures)
    for future in futures:
        future.result()
    return collect_faces(workspace, config)


def _row(report: StageReport) -> dict[str, Any]:
    counts = ", ".join(f"{value:,} {name}" for name, value in report.counts.items())
    return {"stage": report.stage, "outcome": report.outcome, "seconds": round(report.seconds, 1), "what": counts}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the flow from the command line."""
    parser = argparse.ArgumentParser(description="Run the whole way of the data as a Prefect flow.")
    parser.add_argument("--config", type=Path, required=True, help="YAML file")
    parser.add_argument("--workspace", type=Path, default=Path("workspace"))
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="SECTION.KEY=VALUE")
    given = parser.parse_args(arguments)
    run_pipeline(load_config(given.config, given.overrides), given.workspace)


if __name__ == "__main__":
    main()
