"""Check: what one expectation saw, in words and numbers that people read."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from deepfake_core import tables

_GRAIN_NOUNS = {"faces": "face", "videos": "video", "groups": "group", "splits": "split", "dataset": "data set"}


@dataclass(frozen=True)
class Check:
    """What one expectation saw.

    Attributes:
        suite: the suite it belongs to.
        grain: what a row of the checked table is.
        name: the expectation's description.
        expectation: Great Expectations' type.
        column: the checked column.
        severity: ``critical``, ``warning`` or ``info``.
        passed: Great Expectations' verdict.
        bounds: the expectation's arguments, parameters filled in.
        unit: how numbers are written: ``share``, ``count``, ``rows``, ``px``, ``ratio``, ``widths`` or ``number``.
        value: the worst value, or the observed one of a total; None where the column holds no numbers.
        rows: rows that have a value, so that the question applies to them; None for a total.
        rows_outside: rows outside the bounds; None for a total.
        named: some of these rows, by their place in the grain, where the bounds do not tell which they are.
        told: an observed total that is no number, in words.
        notes: why this is checked.
        advice: what to do when it fails.
        show: column of the videos grain that points at the culprits of a total, or ``strangers``.
        examples: the first culprits in words, such as ``ffpp/Deepfakes/c23/001_002: no original 001 at c23``.
    """

    suite: str
    grain: str
    name: str
    expectation: str
    column: str
    severity: str
    passed: bool
    bounds: dict[str, Any]
    unit: str = "number"
    value: float | None = None
    rows: int | None = None
    rows_outside: int | None = None
    named: tuple[int, ...] = ()
    told: str = ""
    notes: str = ""
    advice: str = ""
    show: str | None = None
    examples: tuple[str, ...] = ()

    @property
    def refuses(self) -> bool:
        """Whether this check alone keeps the data out."""
        return not self.passed and self.severity == "critical"

    @property
    def warns(self) -> bool:
        """Whether this check failed without keeping the data out."""
        return not self.passed and self.severity != "critical"

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns whose values are held against each other or against bounds."""
        pair = [self.bounds[name] for name in ("column_A", "column_B") if name in self.bounds]
        return (self.column,) if self.column else tuple(pair or self.bounds.get("column_list", ()))

    @property
    def wants_none(self) -> bool:
        """Whether a value in the column is itself what is wrong."""
        return self.expectation == "expect_column_values_to_be_null"

    @property
    def bounds_rows(self) -> bool:
        """Whether each row is held against the bounds, so that they tell which rows are outside."""
        return self.expectation == "expect_column_values_to_be_between"

    @property
    def observed(self) -> str:
        """What was seen, such as ``7 of 640 videos outside (1.09 %), lowest 0``."""
        if self.rows is None or self.rows_outside is None:
            return self.told or write_number(self.value, self.unit)
        if not self.rows:
            return "nothing to check"
        of_all = f"of {self.rows:,} {self._noun(self.rows)}"
        if self.wants_none:
            return f"{self.rows_outside:,} {of_all}" if self.rows_outside else f"none {of_all}"
        share = write_number(self.rows_outside / self.rows, "share")
        counted = f"{self.rows_outside:,} {of_all} outside ({share})" if self.rows_outside else f"all {of_all}"
        if self.value is None:
            return counted
        extreme = "highest" if self.bounds.get("max_value") is not None else "lowest"
        return f"{counted}, {extreme} {write_number(self.value, self.unit)}"

    @property
    def threshold(self) -> str:
        """What was allowed, such as ``at least 32 px, in 98 % of the faces``."""
        allowed = self._allowed()
        mostly = self.bounds.get("mostly")
        if mostly is None or mostly == 1:
            return allowed
        return f"{allowed}, for {write_number(mostly, 'share')} of the {self._noun(2)}"

    def _allowed(self) -> str:
        low, high = self.bounds.get("min_value"), self.bounds.get("max_value")
        if "expected" in self.bounds:
            expected, tolerance = self.bounds["expected"], self.bounds["tolerance"]
            return f"{write_number(expected, self.unit)} ± {write_number(tolerance, 'share')}"
        if self.wants_none:
            return "none"
        if low is not None and high is not None:
            return f"{write_number(low, self.unit)} to {write_number(high, self.unit)}"
        if low is not None:
            return f"at least {write_number(low, self.unit)}"
        if high is not None:
            return f"at most {write_number(high, self.unit)}"
        return ", ".join(f"{name} {value}" for name, value in sorted(self.bounds.items()) if name != "mostly") or "–"

    def _noun(self, count: int) -> str:
        noun = _GRAIN_NOUNS.get(self.grain, "row")
        return noun if count == 1 else f"{noun}s"


def write_number(value: float | None, unit: str) -> str:
    """Write a number for people: ``0.051`` as a share is ``5.1 %``, ``1168000`` as a count ``1,168,000``."""
    if value is None or math.isnan(value):
        return "no value"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if unit == "share":
        return f"{_short(100 * value)} %"
    if unit == "count":
        return f"{_short(value)}" if value % 1 else f"{value:,.0f}"
    suffix = {"rows": " rows", "px": " px", "ratio": " ×", "widths": " box widths"}.get(unit, "")
    return f"{_short(value)}{suffix}"


def _short(value: float) -> str:
    """Three significant digits, no exponent, no trailing zeros."""
    if value == 0:
        return "0"
    decimals = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{min(decimals, 6)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def to_table(checks: Iterable[Check]) -> pa.Table:
    """Return checks as ``tables.QUALITY``."""
    rows = [
        {
            "suite": check.suite,
            "grain": check.grain,
            "check": check.name,
            "expectation": check.expectation,
            "column": check.column,
            "severity": check.severity,
            "passed": check.passed,
            "observed": check.observed,
            "threshold": check.threshold,
            "value": check.value,
            "rows": check.rows,
            "rows_outside": check.rows_outside,
            "examples": "; ".join(check.examples) or None,
            "notes": check.notes,
            "advice": check.advice,
        }
        for check in checks
    ]
    return tables.from_rows(rows, tables.QUALITY)
