"""Run the Great Expectations suites of a folder, and say in words what each expectation saw.

A suite is a JSON file as Great Expectations writes it. Beyond that its ``meta`` names the ``grain`` whose rows it
checks and, if it is not for everybody, the configuration switch it waits for (``only_when``). Expectations carry a
``description`` (their name for people), ``notes`` (why), a ``severity``, and ``meta``: ``unit``, ``advice`` and, for
totals, ``show`` (the column of the videos grain that points at the culprits, or ``strangers``). Every
``{"$PARAMETER": name}`` is filled from the field of that name in ``ValidateConfig``.

Whether a check passed is Great Expectations' word alone; this module only puts it into other words.
"""

import difflib
import json
import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from pathlib import Path
from typing import Any

import great_expectations as gx
import pandas as pd
from great_expectations.data_context.types.base import (
    DataContextConfig,
    InMemoryStoreBackendDefaults,
    ProgressBarsConfig,
)
from great_expectations.exceptions import GreatExpectationsError
from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

from deepfake_core import files
from deepfake_core.config import ValidateConfig
from deepfake_core.data import expectations as own_expectations
from deepfake_core.data.checks import Check
from deepfake_core.data.grains import GRAINS, Grains
from deepfake_core.errors import ConfigError

OWN_EXPECTATIONS = (own_expectations.ExpectColumnTotalToBeNear,)
"""Named here so that Great Expectations knows them whenever suites are read."""
SEVERITIES = ("critical", "warning", "info")
"""What a failed expectation means; the first where it does not say."""
MOST_NAMED = 1000
"""Rows that Great Expectations is asked to name: enough to show faces of several videos."""


@dataclass(frozen=True)
class Suite:
    """One JSON file of expectations.

    Attributes:
        path: the file.
        content: what it says.
    """

    path: Path
    content: dict[str, Any]

    @property
    def name(self) -> str:
        """What the suite is called."""
        return str(self.content["name"])

    @property
    def grain(self) -> str:
        """What a row of the checked table is."""
        return str(self.content["meta"]["grain"])

    @property
    def switch(self) -> str | None:
        """The configuration field that turns the suite on; None: it is always on."""
        switch = self.content["meta"].get("only_when")
        return None if switch is None else str(switch)

    @property
    def notes(self) -> str:
        """What the suite asks, in a sentence."""
        return str(self.content.get("notes") or "")


def load_suites(folder: Path, *, config: ValidateConfig) -> tuple[Suite, ...]:
    """Read the suites that apply, in the order of their grains.

    Raises:
        ConfigError: the folder holds no suites, or two of one name; a file is no suite, names an unknown grain, switch
            or parameter.
    """
    paths = sorted(folder.glob("*.json"))
    if not paths:
        message = f"{folder} holds no suites (*.json). Set validate.suites to a folder of them, or leave it out."
        raise ConfigError(message)
    suites = [_read_suite(path, config) for path in paths]
    _refuse_one_name_for_two(suites)
    active = [suite for suite in suites if suite.switch is None or getattr(config, suite.switch)]
    return tuple(sorted(active, key=lambda suite: (GRAINS.index(suite.grain), suite.name)))


def digest_of(suites: Sequence[Suite]) -> str:
    """Return one digest over the content of the suites."""
    return files.sha256_of_values({suite.path.name: suite.content for suite in suites})


def run_suite(suite: Suite, grains: Grains, *, config: ValidateConfig) -> tuple[Check, ...]:
    """Hold a grain against a suite, in the order of the file.

    Raises:
        ConfigError: an expectation is unknown to Great Expectations, misconfigured, or cannot be evaluated.
    """
    frame = grains.of(suite.grain)
    values = config.model_dump(mode="json")
    parameters = {name: values[name] for name in _parameters_of(suite.content)}
    context = gx.get_context(mode="ephemeral", project_config=_quiet_context())
    batch = (
        context.data_sources.add_pandas("tables")
        .add_dataframe_asset(suite.grain)
        .add_batch_definition_whole_dataframe("all")
    )
    try:
        definition = gx.ValidationDefinition(name=suite.name, data=batch, suite=context.suites.add(_build(suite)))
        outcome = context.validation_definitions.add(definition).run(
            batch_parameters={"dataframe": frame},
            expectation_parameters=parameters,
            result_format={"result_format": "BASIC", "partial_unexpected_count": 0},
        )
    except (GreatExpectationsError, ValueError, TypeError) as error:
        message = f"Great Expectations cannot run the suite {suite.path}: {error}"
        raise ConfigError(message) from error
    checks = {result.expectation_config.id: _to_check(suite, result, frame) for result in outcome.results}
    whole = batch.get_batch({"dataframe": frame})
    return tuple(_name_rows(checks[one.id], one, whole, parameters) for one in definition.suite.expectations)


def _read_suite(path: Path, config: ValidateConfig) -> Suite:
    try:
        values = files.read_json(path)
        suite = Suite(path, values)
        _ = suite.name, suite.grain, values["expectations"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        message = f"{path} is no suite: it must be JSON with 'name', 'meta.grain' and 'expectations' ({error!r})."
        raise ConfigError(message) from None
    if suite.grain not in GRAINS:
        message = f"{path}: 'meta.grain' must be one of {', '.join(GRAINS)}. Received: {suite.grain!r}"
        raise ConfigError(message)
    for name in (*_parameters_of(values), *filter(None, [suite.switch])):
        if name not in type(config).model_fields:
            near = difflib.get_close_matches(name, type(config).model_fields, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            message = f"{path}: the configuration has no validate.{name} to fill the parameter from.{hint}"
            raise ConfigError(message)
    return suite


def _refuse_one_name_for_two(suites: Sequence[Suite]) -> None:
    """A check is known by the name of its suite: two of one name would each show the other's."""
    paths: dict[str, Path] = {}
    for suite in suites:
        other = paths.setdefault(suite.name, suite.path)
        if other != suite.path:
            message = f"{other} and {suite.path} are both called {suite.name!r}. Give one another 'name', or remove it."
            raise ConfigError(message)


def _parameters_of(values: Any) -> Iterator[str]:
    """Yield the names of all ``{"$PARAMETER": name}`` inside JSON-like values."""
    if isinstance(values, dict):
        if set(values) == {"$PARAMETER"}:
            yield str(values["$PARAMETER"])
        else:
            for inner in values.values():
                yield from _parameters_of(inner)
    elif isinstance(values, list):
        for inner in values:
            yield from _parameters_of(inner)


def _quiet_context() -> DataContextConfig:
    """Nothing on disk, nothing sent anywhere, no bars of its own: the stage shows progress, the report is ours."""
    return DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(),
        progress_bars=ProgressBarsConfig(globally=False),
        analytics_enabled=False,
    )


def _build(suite: Suite) -> Any:
    # One by one: of a whole suite, Great Expectations only logs an expectation that it does not know, and goes on.
    built = [_build_one(suite.path, number, one) for number, one in enumerate(suite.content["expectations"], start=1)]
    return gx.ExpectationSuite(**{**suite.content, "expectations": built})


def _build_one(path: Path, number: int, values: Any) -> Any:
    about = values if isinstance(values, dict) else {}
    kind, severity = about.get("type"), about.get("severity", SEVERITIES[0])
    if severity not in SEVERITIES:
        message = f"{path}: 'severity' of expectation {number}, {kind}, must be critical, warning or info. "
        raise ConfigError(message + f"Received: {severity!r}")
    try:
        return ExpectationConfiguration(**values).to_domain_obj()
    except (GreatExpectationsError, ValueError, TypeError) as error:
        why = " ".join(str(error).split())
        message = f"{path}: Great Expectations does not know, or cannot configure, {kind}, expectation {number}: {why}"
        raise ConfigError(message) from error


def _to_check(suite: Suite, result: Any, frame: pd.DataFrame) -> Check:
    values = result.to_json_dict()
    about = values["expectation_config"]
    bounds = {name: value for name, value in about["kwargs"].items() if name != "batch_id"}
    column = bounds.pop("column", "")
    raised = values["exception_info"]
    if raised.get("raised_exception", True):
        _explain_exception(suite, about["type"], column, raised, frame)
    seen = values["result"]
    total = "observed_value" in seen or "element_count" not in seen
    meta = about.get("meta") or {}
    return Check(
        suite=suite.name,
        grain=suite.grain,
        name=about.get("description") or f"{column}: {about['type']}".removeprefix(": "),
        expectation=about["type"],
        column=column,
        severity=about["severity"],
        passed=bool(values["success"]),
        bounds=bounds,
        unit=meta.get("unit", "number"),
        value=_number(seen.get("observed_value")) if total else _worst(frame, column, bounds),
        rows=None if total else seen["element_count"] - seen.get("missing_count", 0),
        rows_outside=None if total else seen["unexpected_count"],
        told=_tell(seen.get("observed_value", values["success"])) if total else "",
        notes=_sentences(about.get("notes")),
        advice=meta.get("advice", ""),
        show=meta.get("show"),
    )


def _name_rows(check: Check, expectation: Any, batch: Any, parameters: dict[str, Any]) -> Check:
    """Ask Great Expectations again, now for the rows outside, where nothing else tells which they are."""
    if check.passed or check.rows_outside is None or check.wants_none or check.bounds_rows:
        return check
    again = batch.validate(
        expectation,
        expectation_parameters=parameters,
        result_format={"result_format": "SUMMARY", "partial_unexpected_count": MOST_NAMED},
    )
    return replace(check, named=tuple(again.result.get("partial_unexpected_index_list") or ()))


def _explain_exception(suite: Suite, kind: str, column: str, raised: Any, frame: pd.DataFrame) -> None:
    if column and column not in frame.columns:
        near = difflib.get_close_matches(column, frame.columns, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(map(str, frame.columns))}."
        message = f"{suite.path}: the grain {suite.grain!r} has no column {column!r}. {hint}"
    else:
        told = raised if "exception_message" in raised else next(iter(raised.values()), {})
        message = f"{suite.path}: {kind} on {column!r} cannot be evaluated: {told.get('exception_message')}"
    raise ConfigError(message)


def _worst(frame: pd.DataFrame, column: str, bounds: dict[str, Any]) -> float | None:
    """Return the value nearest to, or furthest beyond, the bounds of a row-wise expectation."""
    if column not in frame or not pd.api.types.is_numeric_dtype(frame[column]):
        return None
    if bounds.get("max_value") is not None:
        return _number(frame[column].max())
    return _number(frame[column].min()) if bounds.get("min_value") is not None else None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, Real) and not math.isnan(value) else None


def _tell(value: Any) -> str:
    """Put an observed value that is no number into a few words."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or isinstance(value, Real):
        return ""
    listed = value if isinstance(value, list) else [value]
    return textwrap.shorten(", ".join(map(str, listed)), width=80, placeholder=" …")


def _sentences(notes: str | list[str] | None) -> str:
    return " ".join(notes) if isinstance(notes, list) else notes or ""
