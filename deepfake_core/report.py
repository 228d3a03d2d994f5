"""StageReport: what a stage did, counted.

It is what every stage returns, what ``--json`` prints, what a Prefect artifact shows and what a receipt keeps.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Cell = str | int | float | bool | None


class StageReport(BaseModel):
    """What a stage did.

    Attributes:
        stage: name of the stage, such as ``extract``.
        outcome: ``done`` (work was done now), ``found`` (finished work of an earlier run was found valid) or
            ``refused`` (a gate said no; the exception that follows says why).
        counts: what was made, by name, such as ``{"videos": 640, "faces": 2560}``.
        metrics: measured values, such as ``{"test_video_auc": 0.97}``.
        failed: inputs that became rows with a reason; more than zero makes the command end with exit code 4.
        notes: remarks for people, such as which outputs were made again and why.
        table: rows for people, all with the same keys.
        outputs: what to look at, label to path.
        seconds: wall time of the work; zero for ``found``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: str
    outcome: Literal["done", "found", "refused"] = "done"
    counts: dict[str, int] = {}
    metrics: dict[str, float] = {}
    failed: int = 0
    notes: tuple[str, ...] = ()
    table: tuple[dict[str, Cell], ...] = ()
    outputs: dict[str, str] = {}
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON-like values."""
        return self.model_dump(mode="json")
