"""A decision of the promotion gate: the questions, the answers, the figures, who and when."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from deepfake_core.serving.comparison import Comparison

Outcome = Literal["promoted", "refused", "forced"]

FLOORS = {
    "min_frame_auc": ("frame_auc", "frame AUC", 1),
    "min_video_auc": ("video_auc", "video AUC", 1),
    "min_original_accuracy": ("video_original_accuracy", "accuracy on originals", 1),
    "max_calibration_error": ("video_calibration_error", "calibration error", -1),
}
"""Configuration key → metric, its name for people, and 1 where more is better."""


@dataclass(frozen=True)
class Check:
    """One question of the gate.

    Attributes:
        name: what is asked.
        value: what was measured; None where it cannot be measured.
        bound: what it is held against; None: no bound is configured.
        passed: the answer.
        why: a sentence.
    """

    name: str
    value: float | None
    bound: float | None
    passed: bool
    why: str


@dataclass(frozen=True)
class Decision:
    """What the gate decided, and on what grounds.

    Attributes:
        model: name of the registered model.
        version: the candidate.
        onnx_sha256: its file.
        production: version in production at the time; None for the first promotion.
        outcome: ``promoted``, ``refused``, or ``forced``: promoted although refused.
        checks: all questions.
        comparison: with production; None where there was none.
        metrics: the candidate's test metrics, by ``<level>_<metric>``.
        at: time in UTC, ISO 8601.
        by: user and machine.
        reason: the person's.
    """

    model: str
    version: str
    onnx_sha256: str
    production: str | None
    outcome: Outcome
    checks: tuple[Check, ...]
    comparison: Comparison | None
    metrics: dict[str, float | None] = field(default_factory=dict)
    at: str = ""
    by: str = ""
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the decision as JSON-like values."""
        return {**asdict(self), "refusals": list(self.refusals), "unasked": list(self.unasked)}

    @property
    def refusals(self) -> tuple[str, ...]:
        """Why the gate said no."""
        return tuple(check.why for check in self.checks if not check.passed)

    @property
    def unasked(self) -> tuple[str, ...]:
        """Floors that the configuration has set to null."""
        return tuple(check.name for check in self.checks if check.bound is None and check.name in FLOORS)
