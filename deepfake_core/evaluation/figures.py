"""The figures of an evaluation."""

from typing import Any

import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure

from deepfake_core import metrics, plots
from deepfake_core.contract import ModelContract
from deepfake_core.metrics import ALL


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
