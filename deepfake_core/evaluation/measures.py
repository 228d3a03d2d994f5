"""What the predictions of the test split measure: overall with intervals, and by method and compression.

Thresholds come from the contract, hence from validation: nothing is chosen here.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from deepfake_core import metrics
from deepfake_core.config import EvaluateConfig
from deepfake_core.contract import ModelContract
from deepfake_core.metrics import ALL, Sample
from deepfake_core.report import Cell

INTERVALS: tuple[metrics.Statistic, ...] = (
    "auc",
    "accuracy",
    "recall",
    "precision",
    "f1",
    "original_accuracy",
    "calibration_error",
)


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


def flat_metrics(results: Mapping[str, Any]) -> dict[str, float]:
    """Return the overall metrics as ``test_video_auc``, ``test_frame_auc`` and so on; undefined ones are left out."""
    return {
        f"test_{level}_{name}": row["value"]
        for level, rows in results["overall"].items()
        for name, row in rows.items()
        if row["value"] is not None
    }


def sliced_metrics(results: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the AUCs by method and compression, as ``test_video_auc.Deepfakes_c23``, for MLflow."""
    # A slash in the name would give each a section of its own in MLflow's pages, above the curves of the training.
    return {
        f"test_{level}_auc.{row['method']}_{row['compression']}": row[f"{level}_auc"]
        for row in results["slices"]
        for level in ("video", "frame")
        if (row["method"], row["compression"]) != (ALL, ALL)
    }
