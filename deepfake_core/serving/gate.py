"""The gate in front of production: a candidate passes on figures, or is refused with the reasons.

It reads only predictions that ``evaluate`` stored. First the candidate's own test metrics are held against floors;
then candidate and production are compared on the same test videos of people that neither was trained on. Every
decision leaves a report, a line in the log of decisions, and tags on the version that say who, when and why.
"""

from collections.abc import Iterator
from typing import Any

import mlflow
import pyarrow as pa

from deepfake_core import receipts, tables
from deepfake_core import tracking as runs
from deepfake_core.config import PromoteConfig, RegisterConfig, TrackingConfig
from deepfake_core.contract import read_contract
from deepfake_core.errors import ConfigError, MissingInput, PromotionRefused
from deepfake_core.progress import SILENT, Progress
from deepfake_core.report import StageReport
from deepfake_core.serving import gate_page, history, versions
from deepfake_core.serving.comparison import Comparison, Contender, compare, measure_alone
from deepfake_core.serving.decision import FLOORS, Check, Decision
from deepfake_core.serving.history import Event
from deepfake_core.workspace import Workspace


def promote_model(
    workspace: Workspace,
    *,
    config: PromoteConfig,
    register: RegisterConfig,
    tracking: TrackingConfig,
    version: str | None = None,
    force: bool = False,
    reason: str | None = None,
    progress: Progress = SILENT,
) -> StageReport:
    """Let a version through the gate to production.

    Args:
        workspace: holds the stored predictions; receives the report.
        config: floors and rules of the comparison.
        register: name of the registered model.
        tracking: where the registry is.
        version: of the candidate; None: the challenger.
        force: promote although the gate refuses; needs ``reason``, and is recorded.
        reason: why; kept with the version.
        progress: shows the comparison.

    Returns:
        Outcome, checks and figures.

    Raises:
        PromotionRefused: the gate refuses; the message names every reason, the report the figures. Or the version was
            rolled back, and no reason is given why it should return.
        ConfigError: ``force`` without ``reason``.
        RegistryError: there is no such version.
        MissingInput: the candidate's predictions are not stored.
    """
    if force and not reason:
        message = "--force needs a --reason: it is kept with the version for those who come after."
        raise ConfigError(message)
    runs.connect(workspace, config=tracking)
    client = mlflow.MlflowClient()
    uri = f"models:/{register.model_name}/{version}" if version else f"models:/{register.model_name}@challenger"
    name, candidate = versions.find_version(client, uri)
    external = {"candidate": str(candidate.tags.get(versions.DIGEST_TAG))}
    with receipts.open_stage(workspace, "promote", config=config, external=external) as work:
        production = versions.production_of(client, name)
        if production is not None and str(production.version) == str(candidate.version):
            return work.found or work.finish(_already_there(name, str(candidate.version)), outputs=[])
        refuse_rolled_back(name, candidate, reason=reason)
        with progress.bar("compare with production", total=None):
            decision = decide(workspace, name, candidate, production, config=config, force=force, reason=reason or "")
        report = gate_page.write_report(workspace, decision)
        _record(workspace, client, decision, candidate, report_name=report.stem)
        if decision.outcome == "refused":
            raise PromotionRefused(_refusal(decision, str(report)))
        return work.finish(_report(decision, str(report)), outputs=[report.with_suffix(".json")])


def refuse_rolled_back(name: str, candidate: Any, *, reason: str | None) -> None:
    """Refuse to bring back, without a word, what a person took out of production: a pipeline has no words.

    Raises:
        PromotionRefused: the version was rolled back and no reason is given.
    """
    told = candidate.tags.get(versions.ROLLED_BACK_TAG)
    if told and not reason:
        message = (
            f"{name} version {candidate.version} was rolled back {told}. Train a better one, or say why it should "
            f"return: deepfake promote --version {candidate.version} --reason …"
        )
        raise PromotionRefused(message)


# Deciding -----------------------------------------------------------------------------------------------------------


def decide(
    workspace: Workspace,
    name: str,
    candidate: Any,
    production: Any | None,
    *,
    config: PromoteConfig,
    force: bool = False,
    reason: str = "",
) -> Decision:
    """Ask all questions and decide; nothing is changed yet.

    Args:
        workspace: holds the stored predictions.
        name: of the registered model.
        candidate: its MLflow version.
        production: the MLflow version in production, if any.
        config: floors and rules of the comparison.
        force: promote even so.
        reason: the person's.

    Raises:
        MissingInput: the candidate's predictions are not stored.
    """
    challenger = _contender(workspace, name, candidate)
    if challenger.predictions is None:
        message = (
            f"{name} version {candidate.version} has no stored test predictions. Evaluate and register it again: "
            f"deepfake evaluate --workspace {workspace.root}"
        )
        raise MissingInput(message)
    metrics = measure_alone(challenger)
    checks = list(_floor_checks(metrics, config))
    comparison = None
    if production is not None:
        comparison = compare(challenger, _contender(workspace, name, production), config=config)
        checks += _comparison_checks(comparison, config)
    passed = all(check.passed for check in checks)
    return Decision(
        model=name,
        version=str(candidate.version),
        onnx_sha256=challenger.onnx_sha256,
        production=str(production.version) if production is not None else None,
        outcome="promoted" if passed else "forced" if force else "refused",
        checks=tuple(checks),
        comparison=comparison,
        metrics=metrics,
        at=history.now(),
        by=history.who(),
        reason=reason,
    )


def _contender(workspace: Workspace, name: str, version: Any) -> Contender:
    path = versions.fetch_model(name, version, workspace)
    contract = read_contract(path)
    stored = versions.fetch_predictions(workspace, version)
    predictions: pa.Table | None = tables.read(stored, schema=tables.PREDICTIONS) if stored else None
    return Contender(
        version=str(version.version),
        onnx_sha256=str(version.tags[versions.DIGEST_TAG]),
        contract=contract,
        predictions=predictions,
    )


def _floor_checks(metrics: dict[str, float | None], config: PromoteConfig) -> Iterator[Check]:
    for key, (metric, title, direction) in FLOORS.items():
        bound, value = getattr(config, key), metrics.get(metric)
        if bound is None:
            yield Check(key, value, None, passed=True, why=f"no bound on the {title} is configured")
        elif value is None:
            why = f"the {title} cannot be measured on the test videos, and promote.{key} = {bound:g} asks for it"
            yield Check(key, None, bound, passed=False, why=why)
        else:
            passed = (value - bound) * direction >= 0
            side = "below" if direction > 0 else "above"
            holds = f"keeps promote.{key} = {bound:g}" if passed else f"is {side} promote.{key} = {bound:g}"
            yield Check(key, value, bound, passed=passed, why=f"the {title} of {value:.3f} {holds}")


def _comparison_checks(comparison: Comparison, config: PromoteConfig) -> Iterator[Check]:
    enough = comparison.undecided == ""
    waved = config.undecided == "promote"
    why = (
        f"compared on {comparison.videos} videos of {comparison.groups} groups that neither model was trained on"
        if enough
        else comparison.undecided + (" (promote.undecided lets it pass)" if waved else "")
    )
    yield Check("min_groups", float(comparison.groups), float(config.min_groups), passed=enough or waved, why=why)
    if comparison.best_case is None or comparison.difference is None:
        return
    worse = comparison.best_case < -config.max_auc_drop
    verdict = (
        f"the video AUC is worse than production's: by {-comparison.difference:.3f}, and with {config.confidence:.0%} "
        f"confidence by at least {-comparison.best_case:.3f}, more than promote.max_auc_drop = {config.max_auc_drop:g}"
        if worse
        else f"the video AUC differs from production's by {comparison.difference:+.3f}: not surely worse by more than "
        f"promote.max_auc_drop = {config.max_auc_drop:g}"
    )
    yield Check("max_auc_drop", comparison.best_case, -config.max_auc_drop, passed=not worse, why=verdict)


# Recording ----------------------------------------------------------------------------------------------------------


def _record(workspace: Workspace, client: Any, decision: Decision, candidate: Any, *, report_name: str) -> None:
    """Write the decision down everywhere, the tags before the alias: a version in production always says why."""
    tags = {
        "gate": decision.outcome,
        "gate_report": report_name,
        "gate_refusals": " ".join(decision.refusals) or "none",
        "gate_unasked": ", ".join(decision.unasked) or "none",
    }
    if decision.outcome != "refused":
        tags |= {
            "promoted_at": decision.at,
            "promoted_by": decision.by,
            "promotion_reason": decision.reason or "passed the gate",
            "promotion_forced": str(decision.outcome == "forced").lower(),
        }
    for key, value in tags.items():
        client.set_model_version_tag(decision.model, decision.version, key, value)
    versions.record_decision(workspace, {"action": "promote", **decision.to_json()})
    if candidate.run_id:
        for suffix in (".html", ".json"):
            client.log_artifact(candidate.run_id, str(workspace.promotions / f"{report_name}{suffix}"), "promotion")
    if decision.outcome != "refused":
        event = Event(
            action="promote",
            version=decision.version,
            at=decision.at,
            by=decision.by,
            reason=decision.reason,
            forced=decision.outcome == "forced",
        )
        versions.put_into_production(client, decision.model, event)
        if versions.ROLLED_BACK_TAG in candidate.tags:
            client.delete_model_version_tag(decision.model, decision.version, versions.ROLLED_BACK_TAG)


def _already_there(name: str, version: str) -> StageReport:
    return StageReport(
        stage="promote",
        outcome="found",
        notes=(f"{name} version {version} is in production already",),
        table=({"model": name, "version": version, "outcome": "in production"},),
    )


def _refusal(decision: Decision, report: str) -> str:
    reasons = "; ".join(decision.refusals)
    return (
        f"{decision.model} version {decision.version} stays out of production: {reasons}. Report: {report}. "
        "Train a better one, or promote it all the same: deepfake promote --force --reason …"
    )


def _report(decision: Decision, report: str) -> StageReport:
    unasked = (f"no bound is configured for: {', '.join(decision.unasked)}",) if decision.unasked else ()
    forced = tuple(f"forced although {why}" for why in decision.refusals)
    comparison = decision.comparison
    figures = {
        "candidate_video_auc": comparison.candidate_auc if comparison else decision.metrics.get("video_auc"),
        "production_video_auc": comparison.production_auc if comparison else None,
        "auc_difference": comparison.difference if comparison else None,
    }
    return StageReport(
        stage="promote",
        counts={
            "groups_compared": comparison.groups if comparison else 0,
            "groups_left_out": len(comparison.left_out) if comparison else 0,
        },
        metrics={key: value for key, value in figures.items() if value is not None},
        notes=(f"{decision.model}: version {decision.version} is in production", *forced, *unasked),
        table=tuple(
            {"check": check.name, "value": check.value, "bound": check.bound, "passed": check.passed, "why": check.why}
            for check in decision.checks
        ),
        outputs={"report": report},
    )
