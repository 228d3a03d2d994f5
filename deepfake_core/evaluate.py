"""Evaluate the exported model on the test split, once.

The ONNX file runs through serving's own session on the stored faces of the test videos. Its predictions are kept by
model digest; the report and the promotion gate read only those, and a model that was scored is not scored again.
Thresholds come from the contract, hence from validation: nothing is chosen here.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from deepfake_core import files, plots, receipts, tracking
from deepfake_core.config import EvaluateConfig, TrackingConfig
from deepfake_core.contract import ModelContract
from deepfake_core.evaluation.figures import draw
from deepfake_core.evaluation.measures import flat_metrics, measure, sliced_metrics
from deepfake_core.evaluation.page import MOST_MISTAKES, Mistake, render_page
from deepfake_core.evaluation.predictions import TestVideo, digest_of_faces, list_test_videos, predict
from deepfake_core.progress import SILENT, Progress
from deepfake_core.report import StageReport
from deepfake_core.serving.session import Scorer
from deepfake_core.workspace import Workspace


def evaluate_model(
    workspace: Workspace, *, config: EvaluateConfig, tracking: TrackingConfig, progress: Progress = SILENT
) -> StageReport:
    """Score the test split with the exported model and report.

    Args:
        workspace: holds the splits, the faces and the exported model; receives the predictions and the report.
        config: device, batch, and how many bootstrap resamples.
        tracking: the training's MLflow run receives metrics and plots.
        progress: shows faces scored.

    Returns:
        Frame and video metrics, a row a method and compression.

    Raises:
        TornGroupError: people of the test split were trained on.
        MissingInput: the test split holds no video.
        StaleInput: a faces file is not the one that the extraction wrote.
    """
    with receipts.open_stage(workspace, "evaluate", config=config) as work:
        if work.found:
            return work.found
        scorer = Scorer.open(workspace.onnx_model, device=config.device, batch=config.batch)
        videos = list_test_videos(workspace, contract=scorer.contract)
        predictions = predict(workspace, scorer, videos, progress=progress)
        with progress.bar("measure and draw", total=None):
            results = measure(predictions, contract=scorer.contract, config=config)
            results["faces_digest"] = digest_of_faces(videos)
            written = _write_report(workspace, scorer, predictions, results)
            _log(workspace, results, written, contract=scorer.contract, tracking_config=tracking)
        report = _report(workspace, results, videos)
        outputs = [workspace.predictions_of(scorer.onnx_sha256), workspace.evaluation / "metrics.json"]
        return work.finish(report, outputs=outputs)


def _write_report(workspace: Workspace, scorer: Scorer, predictions: pa.Table, results: dict[str, Any]) -> list[Path]:
    folder = workspace.evaluation
    figures = draw(predictions, results, contract=scorer.contract)
    images = {name: plots.save(figure, folder / f"{name}.png") for name, figure in figures.items()}
    extraction = receipts.read_receipt(workspace, "extract")
    page = render_page(
        results,
        contract=scorer.contract,
        images=images,
        mistakes=list(_mistakes(workspace, predictions)),
        extracted=extraction.config.get("sampling", {}) if extraction else {},
    )
    files.write_text(folder / "index.html", page)
    files.write_json(folder / "metrics.json", results)
    return [*images.values(), folder / "index.html", folder / "metrics.json"]


def _mistakes(workspace: Workspace, predictions: pa.Table) -> Iterator[Mistake]:
    """Yield the videos that are most surely judged wrongly, each with its most misleading face."""
    wrong = [row for row in predictions.to_pylist() if row["verdict"] == ("original", "manipulated")[1 - row["label"]]]
    wrong.sort(key=lambda row: (-abs(row["score"] - row["label"]), row["video_id"]))
    for row in wrong[:MOST_MISTAKES]:
        towards = 1.0 if row["label"] == 0 else -1.0
        worst = int(np.argmax(np.asarray(row["frame_logits"]) * towards))
        frame = row["frames"][worst]
        face = pq.read_table(
            workspace.faces_of(row["video_id"]), columns=["jpeg"], filters=[("frame", "=", frame)], partitioning=None
        )
        yield Mistake(
            video_id=row["video_id"], label=row["label"], score=row["score"], frame=frame, jpeg=face["jpeg"][0].as_py()
        )


def _log(
    workspace: Workspace,
    results: Mapping[str, Any],
    written: Sequence[Path],
    *,
    contract: ModelContract,
    tracking_config: TrackingConfig,
) -> None:
    run_id = contract.mlflow_run_id or files.read_json(workspace.training_record)["run_id"]
    with tracking.run_of(workspace, config=tracking_config, run_id=run_id):
        tracking.log_dataset(
            tracking.TEST_DATASET,
            digest=results["faces_digest"],
            context="test",
            uri=workspace.faces.as_uri(),
            tags={key: str(results[key]) for key in ("videos", "originals", "manipulated", "frames", "groups")},
        )
        tracking.log_metrics(flat_metrics(results) | sliced_metrics(results))
        for path in written:
            tracking.log_artifact(path, "evaluation")


def _report(workspace: Workspace, results: dict[str, Any], videos: Sequence[TestVideo]) -> StageReport:
    faceless = [f"{video.video_id}: {video.reason or 'no face'}" for video in videos if video.faces == 0]
    notes = [f"{len(faceless)} test videos have no face and no score, such as {faceless[0]}"] if faceless else []
    columns = ("method", "compression", "originals", "manipulated", "video_auc", "frame_auc")
    return StageReport(
        stage="evaluate",
        counts={key: results[key] for key in ("videos", "frames", "groups", "undecidable")},
        metrics=flat_metrics(results),
        notes=tuple(notes),
        table=tuple({key: row[key] for key in columns} for row in results["slices"]),
        outputs={"report": str(workspace.evaluation / "index.html")},
    )
