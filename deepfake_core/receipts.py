"""Receipts: how a stage knows that its work is done, and how a later one knows that it may be read.

Existence is not validity. A finished stage leaves ``receipts/<stage>.json`` with a fingerprint (SHA-256 over the
digests of its inputs, its configuration section and its code's schema version), the digests of its key outputs and
its report. The same stage under the same fingerprint is *found*, not done again; under another one it is made again,
and its report says why. A stage under way holds a lock and leaves a ``.started`` marker, so a killed one is seen as
*partial*.

A stage reads like this::

    with receipts.open_stage(workspace, "split", config=config) as work:
        if work.found:
            return work.found
        …
        return work.finish(report, outputs=[workspace.splits_table])
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from deepfake_core import files
from deepfake_core.config import Section
from deepfake_core.errors import GateRefused, MissingInput, StaleInput, WorkspaceBusy
from deepfake_core.report import StageReport
from deepfake_core.stages import Stage, stage_named
from deepfake_core.workspace import Workspace

State = Literal["done", "stale", "partial", "missing"]


class Receipt(BaseModel):
    """What a finished stage leaves behind.

    Attributes:
        stage: its name.
        fingerprint: over the three fields that follow.
        inputs: digest by name: of the outputs of the stages it read, and of what it read from outside.
        config: its configuration section, without what changes only place or speed.
        schema_version: version of its code's output.
        outputs: path as the workspace stores it → SHA-256, for its key outputs.
        report: what it did.
        finished: time in UTC, ISO 8601.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: str
    fingerprint: str
    inputs: dict[str, str]
    config: dict[str, Any]
    schema_version: int
    outputs: dict[str, str]
    report: StageReport
    finished: str

    @property
    def outputs_digest(self) -> str:
        """One digest over all key outputs: what a later stage takes as its input."""
        return files.sha256_of_values(self.outputs)


@dataclass(frozen=True)
class StageState:
    """How a stage stands.

    Attributes:
        stage: its name.
        state: ``done``, ``stale`` (made from other inputs, configuration or code), ``partial`` (begun, not
            finished) or ``missing``.
        why: a sentence, empty for ``done``.
        receipt: what it left behind, if anything.
    """

    stage: str
    state: State
    why: str = ""
    receipt: Receipt | None = None


def fingerprint_of(*, inputs: Mapping[str, str], config: Mapping[str, Any], schema_version: int) -> str:
    """Return the fingerprint of a stage's output: SHA-256 over what decides it."""
    return files.sha256_of_values({"inputs": dict(inputs), "config": dict(config), "schema": schema_version})


def read_receipt(workspace: Workspace, stage: str) -> Receipt | None:
    """Return the receipt of a stage, or None where there is no readable one."""
    try:
        return Receipt.model_validate(files.read_json(_receipt_path(workspace, stage)))
    except (FileNotFoundError, ValueError, ValidationError):
        return None


def state_of(workspace: Workspace, stage: str, *, config: Section | None = None) -> StageState:
    """Say how a stage stands: against its outputs, its inputs, its code and, where given, its configuration."""
    receipt = read_receipt(workspace, stage)
    if receipt is None:
        if not (started := _started_path(workspace, stage)).exists():
            return StageState(stage, "missing", "it has not run")
        if refused := files.read_json(started).get("refused"):
            return StageState(stage, "partial", f"it refused: {refused}")
        return StageState(stage, "partial", "it was begun and not finished; run it again to go on")
    why = next(_why_stale(workspace, stage_named(stage), receipt, config), "")
    return StageState(stage, "stale" if why else "done", why, receipt)


def require_done(workspace: Workspace, stage: str, *, config: Section | None = None) -> Receipt:
    """Return the receipt of a stage that is done.

    Raises:
        MissingInput: it has not run, or not to its end.
        StaleInput: it was made from other inputs, configuration or code than today's.
    """
    standing = state_of(workspace, stage, config=config)
    if standing.receipt is None:
        message = f"stage '{stage}' is needed first: {standing.why}. Run: deepfake {stage} --workspace {workspace.root}"
        raise MissingInput(message)
    if standing.state == "stale":
        message = (
            f"stage '{stage}' is stale: {standing.why}. Make it again: deepfake {stage} --workspace {workspace.root}"
        )
        raise StaleInput(message)
    return standing.receipt


@dataclass
class Work:
    """A stage under way.

    Attributes:
        stage: the stage.
        found: the report of an earlier run whose receipt is still valid; then there is nothing to do.
        why: why there is work to do, when an earlier run's output is made again; empty on a first run.
        inputs: digests of what the stage reads.
        config_values: its configuration, without what changes only place or speed.
        fingerprint: of the output that will be made.
    """

    workspace: Workspace
    stage: Stage
    inputs: dict[str, str]
    config_values: dict[str, Any]
    fingerprint: str
    found: StageReport | None = None
    why: str = ""
    began: float = field(default_factory=time.monotonic)

    def finish(
        self, report: StageReport, *, outputs: Iterable[Path], external: Mapping[str, str] | None = None
    ) -> StageReport:
        """Write the receipt, last of all; return the report with its wall time and the reason of a re-make.

        Args:
            report: what was done.
            outputs: the key outputs.
            external: digests of inputs from outside the workspace as the work left them, where it changed them itself.
        """
        if external is not None:
            self.inputs = {**self.inputs, **external}
            self.fingerprint = fingerprint_of(
                inputs=self.inputs, config=self.config_values, schema_version=self.stage.schema
            )
        report = report.model_copy(update={"seconds": time.monotonic() - self.began})
        receipt = Receipt(
            stage=self.stage.name,
            fingerprint=self.fingerprint,
            inputs=self.inputs,
            config=self.config_values,
            schema_version=self.stage.schema,
            outputs={self.workspace.relative(path): files.sha256_of_file(path) for path in outputs},
            report=report,
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        files.write_json(_receipt_path(self.workspace, self.stage.name), receipt.model_dump(mode="json"))
        _started_path(self.workspace, self.stage.name).unlink(missing_ok=True)
        # Told once, not kept: a later run that finds this work makes nothing again.
        return report.model_copy(update={"notes": (f"made again: {self.why}", *report.notes)}) if self.why else report


@contextmanager
def open_stage(
    workspace: Workspace, name: str, *, config: Section, external: Mapping[str, str] | None = None
) -> Iterator[Work]:
    """Begin a stage: hold its lock, check what it reads, and find out whether there is anything to do.

    Args:
        workspace: where.
        name: of the stage.
        config: its section.
        external: digests of what it reads from outside the workspace, by name (split lists, suites, a source tree).

    Raises:
        WorkspaceBusy: another process works on the same stage.
        MissingInput, StaleInput: a stage it reads is not done.
    """
    stage = stage_named(name)
    workspace.receipts.mkdir(parents=True, exist_ok=True)
    lock = FileLock(workspace.receipts / f"{name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        message = f"another process is running stage '{name}' in {workspace.root}. Wait for it, or stop it first."
        raise WorkspaceBusy(message) from None
    try:
        inputs = {read: require_done(workspace, read).outputs_digest for read in stage.reads}
        inputs |= dict(external or {})
        values = config.fingerprint_values()
        fingerprint = fingerprint_of(inputs=inputs, config=values, schema_version=stage.schema)
        work = Work(workspace, stage, inputs, values, fingerprint)
        _find_or_begin(work, config)
        try:
            yield work
        except GateRefused as refusal:
            told = str(refusal).partition("\n")[0].rstrip(".:")
            files.write_json(_started_path(workspace, name), {"why": work.why, "refused": told})
            raise
    finally:
        lock.release()


def _find_or_begin(work: Work, config: Section) -> None:
    standing = state_of(work.workspace, work.stage.name, config=config)
    receipt = standing.receipt
    if receipt is not None and standing.state == "done" and receipt.fingerprint == work.fingerprint:
        work.found = receipt.report.model_copy(update={"outcome": "found", "seconds": 0.0})
        return
    if receipt is not None:
        work.why = standing.why or _changed_inputs(receipt.inputs, work.inputs)
    elif standing.state == "partial":
        work.why = files.read_json(_started_path(work.workspace, work.stage.name)).get("why", "")
    files.write_json(_started_path(work.workspace, work.stage.name), {"why": work.why})
    _receipt_path(work.workspace, work.stage.name).unlink(missing_ok=True)


def _why_stale(workspace: Workspace, stage: Stage, receipt: Receipt, config: Section | None) -> Iterator[str]:
    if receipt.schema_version != stage.schema:
        yield f"its code moved from version {receipt.schema_version} to {stage.schema}"
    if config is not None and config.fingerprint_values() != receipt.config:
        yield "its configuration changed: " + ", ".join(_differences(receipt.config, config.fingerprint_values()))
    for stored, digest in receipt.outputs.items():
        path = workspace.resolve(stored)
        if not path.is_file():
            yield f"its output {stored} is gone"
        elif files.sha256_if_changed(path) != digest:
            yield f"its output {stored} is not what it wrote"
    for read in stage.reads:
        upstream = state_of(workspace, read)
        if upstream.state != "done" or upstream.receipt is None:
            yield f"stage '{read}', which it reads, is {upstream.state}"
        elif upstream.receipt.outputs_digest != receipt.inputs.get(read):
            yield f"stage '{read}' gave new output"


def _changed_inputs(old: Mapping[str, str], new: Mapping[str, str]) -> str:
    changed = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
    return f"its input changed: {', '.join(changed)}"


def _differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    lines: list[str] = []
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            lines += _differences(before, after, f"{prefix}{key}.")
        elif before != after:
            lines.append(f"{prefix}{key} {before!r} → {after!r}")
    return lines


def _receipt_path(workspace: Workspace, stage: str) -> Path:
    return workspace.receipts / f"{stage}.json"


def _started_path(workspace: Workspace, stage: str) -> Path:
    return workspace.receipts / f"{stage}.started"
