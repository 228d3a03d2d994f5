"""From the logits of frames to the score and the verdict of a video; evaluation and scoring share this one rule."""

from typing import Literal

import numpy as np
import numpy.typing as npt

from deepfake_core.config import Aggregation

Verdict = Literal["original", "manipulated", "undecidable"]
Floats = npt.NDArray[np.floating]


def sigmoid(logits: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the logistic function of ``logits`` in float64, without overflow."""
    values = np.asarray(logits, dtype=np.float64)
    positive = np.exp(-np.abs(values))
    return np.where(values >= 0, 1.0, positive) / (1.0 + positive)


def video_score(logits: npt.ArrayLike, *, how: Aggregation, frame_threshold: float = 0.5) -> float | None:
    """Aggregate the logits of a video's frames.

    Args:
        logits: shape (frames,), one a face.
        how: ``mean_logit``: sigmoid of the mean logit; ``mean_probability``; ``median_probability``;
            ``vote``: share of frames whose probability reaches ``frame_threshold`` (the notebook's majority vote).
        frame_threshold: probability, used by ``vote`` only.

    Returns:
        A probability of *manipulated* in 0..1, or None for no frames at all: no face is not half a fake.
    """
    values = np.asarray(logits, dtype=np.float64)
    if values.size == 0:
        return None
    if how == "mean_logit":
        return float(sigmoid(values.mean()))
    probabilities = sigmoid(values)
    if how == "mean_probability":
        return float(probabilities.mean())
    if how == "median_probability":
        return float(np.median(probabilities))
    return float((probabilities >= frame_threshold).mean())


def verdict(score: float | None, *, threshold: float, faces: int, min_faces: int) -> Verdict:
    """Return the verdict on a video: ``undecidable`` without a score or with fewer than ``min_faces`` faces."""
    if score is None or faces < min_faces:
        return "undecidable"
    return "manipulated" if score >= threshold else "original"
