"""Evaluate the exported model on the test split, once.

The ONNX file runs through serving's own session on the stored faces of the test videos. Its predictions are kept by
model digest; the report and the promotion gate read only those, and a model that was scored is not scored again.
Thresholds come from the contract, hence from validation: nothing is chosen here.
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from matplotlib.figure import Figure

from deepfake_core import aggregation, evaluation_page, files, metrics, plots, receipts, tables, tracking
from deepfake_core.config import EvaluateConfig, TrackingConfig
from deepfake_core.contract import ModelContract
from deepfake_core.data.split import refuse_torn_groups
from deepfake_core.errors import MissingInput, StaleInput, TornGroupError
from deepfake_core.metrics import ALL, Sample
from deepfake_core.progress import SILENT, Bar, Progress
from deepfake_core.report import Cell, StageReport
from deepfake_core.serving.session import Scorer
from deepfake_core.workspace import Workspace

PART_VIDEOS = 32
"""Videos whose predictions are kept together while scoring is under way: what a kill costs at most."""

INTERVALS: tuple[metrics.Statistic, ...] = (
    "auc",
    "accuracy",
    "recall",
    "precision",
    "f1",
    "original_accuracy",
    "calibration_error",
)


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
            written = _write_report(workspace, scorer, predictions, results)
            _log(workspace, results, written, contract=scorer.contract, tracking_config=tracking)
        report = _report(workspace, results, videos)
        outputs = [workspace.predictions_of(scorer.onnx_sha256), workspace.evaluation / "metrics.json"]
        return work.finish(report, outputs=outputs)


# The test videos and their predictions ------------------------------------------------------------------------------


@dataclass(frozen=True)
class TestVideo:
    """A video of the test split.

    Attributes:
        video_id: of the video.
        method: ``original`` or the manipulation.
        compression: of the video.
        name: its file's stem.
        group: whose video it is.
        label: 0 original, 1 manipulated.
        faces: how many faces were extracted.
        digest: SHA-256 of its faces file; None where there is none.
        reason: why there are no faces, where there are none.
    """

    __test__ = False  # the name is not for pytest

    video_id: str
    method: str
    compression: str
    name: str
    group: str
    label: int
    faces: int
    digest: str | None
    reason: str | None


def list_test_videos(workspace: Workspace, *, contract: ModelContract) -> list[TestVideo]:
    """Return the videos of the test split, sorted by id.

    Raises:
        TornGroupError: a group is torn, or the model was trained on one that stands in test now.
        MissingInput: there are none.
    """
    splits = tables.read(workspace.splits_table, schema=tables.SPLITS)
    refuse_torn_groups(splits)
    groups = {row["video_id"]: row["group"] for row in splits.to_pylist() if row["split"] == "test"}
    if not groups:
        message = f"the test split of {workspace.splits_table} holds no video. Split again with a share for test."
        raise MissingInput(message)
    trained_on = sorted(set(groups.values()) & set(contract.training_groups))
    if trained_on:
        message = (
            f"the model was trained on {len(trained_on)} groups of the test split ({', '.join(trained_on[:5])}). "
            "It was exported under another split: train and export it again."
        )
        raise TornGroupError(message)
    extractions = {
        row["video_id"]: row for row in tables.read(workspace.extractions_table, schema=tables.EXTRACTIONS).to_pylist()
    }
    videos = tables.read(workspace.videos_table, schema=tables.VIDEOS).to_pylist()
    chosen = (_test_video(row, groups, extractions) for row in videos if row["video_id"] in groups)
    return sorted(chosen, key=lambda video: video.video_id)


def _test_video(video: dict[str, Any], groups: dict[str, str], extractions: dict[str, dict[str, Any]]) -> TestVideo:
    extraction = extractions.get(video["video_id"], {})
    return TestVideo(
        **{key: video[key] for key in ("video_id", "method", "compression", "name", "label")},
        group=groups[video["video_id"]],
        faces=extraction.get("faces") or 0,
        digest=extraction.get("digest"),
        reason=extraction.get("reason") or video["reason"],
    )


def predict(
    workspace: Workspace, scorer: Scorer, videos: Sequence[TestVideo], *, progress: Progress = SILENT
) -> pa.Table:
    """Return the predictions of the model for ``videos``, from the stored ones where they are complete.

    Raises:
        StaleInput: a faces file is not the one that the extraction wrote.
    """
    path = workspace.predictions_of(scorer.onnx_sha256)
    if path.is_file():
        stored = tables.read(path, schema=tables.PREDICTIONS)
        if _keys(stored.to_pylist()) == _keys([asdict(video) for video in videos]):
            return stored
    parts = path.with_suffix(".parts")
    total = sum(video.faces for video in videos)
    with progress.bar("score the test split", total=total, unit="faces") as bar:
        found = [_predict_part(workspace, scorer, part, parts, bar) for part in _in_parts(videos)]
    predictions = pa.concat_tables(found).combine_chunks()
    tables.write(path, predictions, schema=tables.PREDICTIONS)
    shutil.rmtree(parts, ignore_errors=True)
    return tables.read(path, schema=tables.PREDICTIONS)


def _keys(rows: Sequence[dict[str, Any]]) -> set[tuple[str, str, int]]:
    return {(row["video_id"], row["group"], row["label"]) for row in rows}


def _in_parts(videos: Sequence[TestVideo]) -> Iterator[Sequence[TestVideo]]:
    for start in range(0, len(videos), PART_VIDEOS):
        yield videos[start : start + PART_VIDEOS]


def _predict_part(
    workspace: Workspace, scorer: Scorer, videos: Sequence[TestVideo], folder: Path, bar: Bar
) -> pa.Table:
    path = folder / f"{files.sha256_of_values([asdict(video) for video in videos])}.parquet"
    if path.is_file():
        bar.advance(sum(video.faces for video in videos))
        return tables.read(path, schema=tables.PREDICTIONS)
    rows = []
    for video in videos:
        rows.append(_predict_video(workspace, scorer, video))
        bar.advance(video.faces)
    part = tables.from_rows(rows, tables.PREDICTIONS)
    tables.write(path, part, schema=tables.PREDICTIONS)
    return part


def _predict_video(workspace: Workspace, scorer: Scorer, video: TestVideo) -> dict[str, Any]:
    contract = scorer.contract
    frames, jpegs = _read_faces(workspace, video)
    logits = scorer.logits_of_jpegs(jpegs)
    score = aggregation.video_score(logits, how=contract.aggregation, frame_threshold=contract.frame_threshold.value)
    return {
        "onnx_sha256": scorer.onnx_sha256,
        **{key: getattr(video, key) for key in ("video_id", "method", "compression", "name", "group", "label")},
        "frames": frames,
        "frame_logits": logits.tolist(),
        "score": score,
        "verdict": aggregation.verdict(
            score, threshold=contract.video_threshold.value, faces=len(frames), min_faces=contract.min_faces
        ),
    }


def _read_faces(workspace: Workspace, video: TestVideo) -> tuple[list[int], list[bytes]]:
    if video.digest is None:
        return [], []
    path = workspace.faces_of(video.video_id)
    if not path.is_file() or files.sha256_of_file(path) != video.digest:
        message = (
            f"{path} is not what the extraction wrote. Make it again: deepfake extract --workspace {workspace.root}"
        )
        raise StaleInput(message)
    tables.check(path, schema=tables.FACES)
    rows = pq.read_table(path, columns=["frame", "jpeg"], filters=[("status", "=", "ok")], partitioning=None)
    rows = rows.sort_by("frame")
    return rows["frame"].to_pylist(), rows["jpeg"].to_pylist()


# What they say ------------------------------------------------------------------------------------------------------


def measure(predictions: pa.Table, *, contract: ModelContract, config: EvaluateConfig) -> dict[str, Any]:
    """Return all metrics of a predictions table as JSON-like values.

    Returns:
        ``overall``: level (``video``, ``frame``) → metric → value, low, high; ``slices``: a row a method and
        compression; ``confusion``: videos, (2, 2); and counts.
    """
    samples = {"video": metrics.video_sample(predictions), "frame": metrics.frame_sample(predictions)}
    thresholds = {"video": contract.video_threshold.value, "frame": contract.frame_threshold.value}
    overall = {
        level: _with_intervals(sample, threshold=thresholds[level], config=config) for level, sample in samples.items()
    }
    videos = samples["video"]
    decided = len(videos) > 0
    return {
        "onnx_sha256": predictions["onnx_sha256"][0].as_py(),
        "videos": predictions.num_rows,
        "originals": int((np.asarray(predictions["label"]) == 0).sum()),
        "manipulated": int((np.asarray(predictions["label"]) == 1).sum()),
        "undecidable": predictions.num_rows - len(videos),
        "frames": len(samples["frame"]),
        "groups": len(set(predictions["group"].to_pylist())),
        "interval": config.interval,
        "resamples": config.resamples,
        "overall": overall,
        "slices": list(_slices(samples, thresholds)),
        "confusion": metrics.confusion(videos.labels, videos.scores, threshold=thresholds["video"]).tolist()
        if decided
        else [[0, 0], [0, 0]],
    }


def _with_intervals(sample: Sample, *, threshold: float, config: EvaluateConfig) -> dict[str, dict[str, float | None]]:
    values = metrics.summarise(sample, threshold=threshold)
    rows: dict[str, dict[str, float | None]] = {}
    for name, value in values.items():
        interval = None
        if value is not None and name in INTERVALS:
            interval = metrics.bootstrap_interval(
                sample,
                statistic=next(known for known in INTERVALS if known == name),
                threshold=threshold,
                resamples=config.resamples,
                coverage=config.interval,
                seed=config.seed or 0,
            )
        low, high = (interval.low, interval.high) if interval else (None, None)
        rows[name] = {"value": value, "low": low, "high": high}
    return rows


def _slices(samples: dict[str, Sample], thresholds: dict[str, float]) -> Iterator[dict[str, Cell]]:
    frames = {(method, compression): part for method, compression, part in metrics.slices(samples["frame"])}
    for method, compression, part in metrics.slices(samples["video"]):
        of_frames = frames[method, compression]
        yield {
            "method": method,
            "compression": compression,
            "originals": int((part.labels == 0).sum()),
            "manipulated": int((part.labels == 1).sum()),
            **{f"video_{k}": v for k, v in metrics.summarise(part, threshold=thresholds["video"]).items()},
            "frame_auc": metrics.summarise(of_frames, threshold=thresholds["frame"])["auc"],
        }


def draw(predictions: pa.Table, results: dict[str, Any], *, contract: ModelContract) -> dict[str, Figure]:
    """Return the figures of the report by name; those that need both classes only where both are there."""
    videos, frames = metrics.video_sample(predictions), metrics.frame_sample(predictions)
    figures = {"confusion": plots.draw_confusion(np.asarray(results["confusion"]))}
    if len(videos):
        threshold = contract.video_threshold.value
        curve = metrics.calibration_curve(videos.labels, videos.scores)
        error = results["overall"]["video"]["calibration_error"]["value"]
        figures["scores"] = plots.draw_histogram(videos.labels, videos.scores, threshold=threshold)
        figures["calibration"] = plots.draw_calibration(*curve, error=error)
    aucs = {level: results["overall"][level]["auc"]["value"] for level in ("video", "frame")}
    curves = {
        f"{level}s, AUC {aucs[level]:.3f}": (sample.labels, sample.scores)
        for level, sample in (("video", videos), ("frame", frames))
        if aucs[level] is not None
    }
    if curves:
        figures["roc"] = plots.draw_roc(curves)
    bars: dict[str, dict[str, float | None]] = {}
    for row in results["slices"]:
        if row["method"] != ALL and row["compression"] != ALL:
            bars.setdefault(row["method"], {})[row["compression"]] = row["video_auc"]
    if bars:
        figures["methods"] = plots.draw_breakdown(bars, title="Video AUC by manipulation", y="AUC")
    return figures


# Where they go ------------------------------------------------------------------------------------------------------


def _write_report(workspace: Workspace, scorer: Scorer, predictions: pa.Table, results: dict[str, Any]) -> list[Path]:
    folder = workspace.evaluation
    figures = draw(predictions, results, contract=scorer.contract)
    images = {name: plots.save(figure, folder / f"{name}.png") for name, figure in figures.items()}
    extraction = receipts.read_receipt(workspace, "extract")
    page = evaluation_page.render_page(
        results,
        contract=scorer.contract,
        images=images,
        mistakes=list(_mistakes(workspace, predictions)),
        extracted=extraction.config.get("sampling", {}) if extraction else {},
    )
    files.write_text(folder / "index.html", page)
    files.write_json(folder / "metrics.json", results)
    return [*images.values(), folder / "index.html", folder / "metrics.json"]


def _mistakes(workspace: Workspace, predictions: pa.Table) -> Iterator[evaluation_page.Mistake]:
    """Yield the videos that are most surely judged wrongly, each with its most misleading face."""
    wrong = [row for row in predictions.to_pylist() if row["verdict"] == ("original", "manipulated")[1 - row["label"]]]
    wrong.sort(key=lambda row: (-abs(row["score"] - row["label"]), row["video_id"]))
    for row in wrong[: evaluation_page.MOST_MISTAKES]:
        towards = 1.0 if row["label"] == 0 else -1.0
        worst = int(np.argmax(np.asarray(row["frame_logits"]) * towards))
        frame = row["frames"][worst]
        face = pq.read_table(
            workspace.faces_of(row["video_id"]), columns=["jpeg"], filters=[("frame", "=", frame)], partitioning=None
        )
        yield evaluation_page.Mistake(
            video_id=row["video_id"], label=row["label"], score=row["score"], frame=frame, jpeg=face["jpeg"][0].as_py()
        )


def _log(
    workspace: Workspace,
    results: dict[str, Any],
    written: Sequence[Path],
    *,
    contract: ModelContract,
    tracking_config: TrackingConfig,
) -> None:
    record = files.read_json(workspace.training_record)
    sliced = {
        f"test_{level}_auc/{row['method']}_{row['compression']}": row[f"{level}_auc"]
        for row in results["slices"]
        for level in ("video", "frame")
        if (row["method"], row["compression"]) != (ALL, ALL)
    }
    with tracking.run_of(workspace, config=tracking_config, run_id=contract.mlflow_run_id or record["run_id"]):
        tracking.log_metrics(flat_metrics(results) | sliced)
        for path in written:
            tracking.log_artifact(path, "evaluation")


def flat_metrics(results: dict[str, Any]) -> dict[str, float]:
    """Return the overall metrics as ``test_video_auc``, ``test_frame_auc`` and so on; undefined ones are left out."""
    return {
        f"test_{level}_{name}": row["value"]
        for level, rows in results["overall"].items()
        for name, row in rows.items()
        if row["value"] is not None
    }


def _report(workspace: Workspace, results: dict[str, Any], videos: Sequence[TestVideo]) -> StageReport:
    faceless = [f"{video.video_id}: {video.reason or 'no face'}" for video in videos if video.faces == 0]
    notes = [f"{len(faceless)} test videos have no face and no score, such as {faceless[0]}"] if faceless else []
    columns = ("method", "compression", "originals", "manipulated", "video_auc", "video_accuracy", "frame_auc")
    return StageReport(
        stage="evaluate",
        counts={key: results[key] for key in ("videos", "frames", "groups", "undecidable")},
        metrics=flat_metrics(results),
        notes=tuple(notes),
        table=tuple({key: row[key] for key in columns} for row in results["slices"]),
        outputs={"report": str(workspace.evaluation / "index.html")},
    )
