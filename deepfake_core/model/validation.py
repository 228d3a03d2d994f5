"""What validation decides for the exported model: its thresholds, and how well it does there."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deepfake_core import metrics
from deepfake_core.aggregation import sigmoid, video_score
from deepfake_core.config import ExportConfig
from deepfake_core.contract import Threshold
from deepfake_core.data.reader import read_faces
from deepfake_core.data.records_index import read_index
from deepfake_core.model.parity import LogitsOf
from deepfake_core.progress import SILENT, Progress
from deepfake_core.workspace import Workspace

_BATCH = 32  # faces decoded at once


@dataclass(frozen=True)
class ScoredFaces:
    """The faces of a split, in the order of its records.

    Attributes:
        logits: float32 (faces,).
        labels: int64 (faces,).
        video_ids: str (faces,).
    """

    logits: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    video_ids: npt.NDArray[np.str_]


@dataclass(frozen=True)
class Thresholds:
    """Where *manipulated* begins, for frames and for videos."""

    frame: Threshold
    video: Threshold


def score_faces(workspace: Workspace, split: str, *, logits_of: LogitsOf, progress: Progress = SILENT) -> ScoredFaces:
    """Score all faces of a split, in constant memory but for the results."""
    logits, labels, video_ids = [], [], []
    total = read_index(workspace).split(split).faces
    with progress.bar(f"score {split} faces", total=total, unit="faces") as bar:
        for crops, classes, ids in read_faces(workspace, split, batch=_BATCH, with_ids=True).as_numpy_iterator():
            logits.append(logits_of(crops))
            labels.append(classes)
            video_ids.append(ids["video_id"].astype(np.str_))
            bar.advance(len(classes))
    return ScoredFaces(np.concatenate(logits), np.concatenate(labels), np.concatenate(video_ids))


def crops_at(workspace: Workspace, split: str, indices: list[int]) -> npt.NDArray[np.uint8]:
    """Return the crops at sorted ``indices`` of a split, uint8 (crops, size, size, 3)."""
    wanted = set(indices)
    crops = []
    for index, (crop, _) in enumerate(read_faces(workspace, split).as_numpy_iterator()):
        if index in wanted:
            crops.append(crop)
        if len(crops) == len(wanted):
            break
    return np.stack(crops)


def choose_thresholds(faces: ScoredFaces, *, config: ExportConfig) -> Thresholds:
    """Choose the frame threshold on validation faces and the video threshold on validation videos.

    Args:
        faces: of the validation split.
        config: ``threshold`` and ``aggregation``.

    Raises:
        UndefinedMetric: validation has only one class.
    """
    frame = _threshold(faces.labels, sigmoid(faces.logits), config, what="faces")
    labels, scores = video_scores(faces, config=config, frame_threshold=frame.value)
    return Thresholds(frame=frame, video=_threshold(labels, scores, config, what="videos"))


def video_scores(
    faces: ScoredFaces, *, config: ExportConfig, frame_threshold: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return the label and the score of every video, in the order of the video ids."""
    labels, scores = [], []
    for video_id in np.unique(faces.video_ids):
        own = faces.video_ids == video_id
        score = video_score(faces.logits[own], how=config.aggregation, frame_threshold=frame_threshold)
        labels.append(faces.labels[own][0])
        scores.append(score)
    return np.asarray(labels, dtype=np.int64), np.asarray(scores, dtype=np.float64)


def measure_validation(faces: ScoredFaces, *, config: ExportConfig, thresholds: Thresholds) -> dict[str, float]:
    """Return the metrics of validation at frame and video level, by names such as ``video_auc``."""
    labels, scores = video_scores(faces, config=config, frame_threshold=thresholds.frame.value)
    values: dict[str, float] = {"frames": float(len(faces.labels)), "videos": float(len(labels))}
    levels = (
        ("frame", faces.labels, sigmoid(faces.logits), thresholds.frame.value),
        ("video", labels, scores, thresholds.video.value),
    )
    for level, truth, score, threshold in levels:
        found: dict[str, float | None] = {
            "auc": metrics.auc(truth, score),
            "eer": metrics.eer(truth, score)[0],
            "calibration_error": metrics.calibration_error(truth, score),
            **metrics.classification(truth, score, threshold=threshold),
        }
        values |= {f"{level}_{name}": value for name, value in found.items() if value is not None}
    return values


def _threshold(
    labels: npt.NDArray[np.int64], scores: npt.NDArray[np.float64], config: ExportConfig, *, what: str
) -> Threshold:
    if config.threshold == "youden":
        return Threshold(
            value=metrics.youden_threshold(labels, scores), chosen_by=f"Youden index on {len(labels)} validation {what}"
        )
    if config.threshold == "eer":
        return Threshold(
            value=metrics.eer(labels, scores)[1], chosen_by=f"equal error rate on {len(labels)} validation {what}"
        )
    return Threshold(value=config.threshold, chosen_by="fixed by the configuration")
