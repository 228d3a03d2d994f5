"""Expectations of our own, beside the ones that come with Great Expectations."""

from typing import Any

from great_expectations.expectations.expectation import ColumnAggregateExpectation


class ExpectColumnTotalToBeNear(ColumnAggregateExpectation):  # type: ignore[misc]
    """Expect the total in a one-row column to be a known number, give or take a share of it.

    It lets a suite state the number that people know (254,812 faces) instead of bounds around it.

    Attributes:
        column: holds the total.
        expected: the known number.
        tolerance: allowed distance as a share of ``expected``, or a ``{"$PARAMETER": name}``.
    """

    expected: float
    tolerance: Any

    metric_dependencies = ("column.max",)
    success_keys = ("expected", "tolerance")

    def _validate(
        self,
        metrics: dict[str, Any],
        runtime_configuration: dict[str, Any] | None = None,  # noqa: ARG002 - Great Expectations' signature
        execution_engine: Any = None,  # noqa: ARG002
    ) -> dict[str, Any]:
        bounds = self._get_success_kwargs()
        total = float(metrics["column.max"])
        distance = abs(total - bounds["expected"])
        # A numpy bool here would break Great Expectations' JSON.
        return {
            "success": bool(distance <= bounds["tolerance"] * bounds["expected"]),
            "result": {"observed_value": total},
        }
