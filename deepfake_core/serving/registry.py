"""The model registry: register the exported model, find the one in production, go back to the one before."""

from collections.abc import Mapping
from contextlib import redirect_stderr
from dataclasses import dataclass
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import mlflow
import mlflow.onnx
import numpy as np
import onnx
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

from deepfake_core import files, receipts
from deepfake_core import tracking as runs
from deepfake_core.config import RegisterConfig, TrackingConfig
from deepfake_core.contract import ModelContract, read_contract
from deepfake_core.errors import RegistryError, StaleInput
from deepfake_core.report import Cell, StageReport
from deepfake_core.serving import history, versions
from deepfake_core.serving.history import Event
from deepfake_core.serving.versions import CHALLENGER, DIGEST_TAG
from deepfake_core.workspace import Workspace

SMALL_WEIGHTS_BYTES = 5 << 20
"""Detector weights up to this size are kept with the run, so that scoring elsewhere finds them by their digest."""
SHOWN_METRICS = {
    "test_video_auc": "video AUC",
    "test_frame_auc": "frame AUC",
    "test_video_original_accuracy": "accuracy on original videos",
}
"""Test metrics that stand with a version, and their names for people."""
MODEL_DESCRIPTION = (
    "Deepfake detectors. `production` is what `deepfake score` takes, `challenger` the latest registered, `previous` "
    "what `deepfake rollback` returns to. Aliases are moved by `deepfake promote`, which asks the gate first."
)
REQUIREMENTS = ("numpy>=2.1", "onnx>=1.20", "onnxruntime>=1.26")
"""What running the stored model needs; left to itself MLflow would name onnxruntime twice."""


@dataclass(frozen=True)
class ResolvedModel:
    """A model of the registry, on disk.

    Attributes:
        path: verified ONNX file.
        name: of the registered model.
        version: of it.
    """

    path: Path
    name: str
    version: str


# Register -----------------------------------------------------------------------------------------------------------


def register_model(workspace: Workspace, *, config: RegisterConfig, tracking: TrackingConfig) -> StageReport:
    """Register the exported model as ``challenger``; the same file is registered once only.

    Args:
        workspace: holds the exported model, its evaluation and the training record.
        config: name of the registered model, and tags of the version.
        tracking: where the registry is.

    Returns:
        Name, version and aliases.

    Raises:
        StaleInput: the evaluation is of another model file.
        RegistryError: the registry stored other bytes than it was given.
        TrackingError: the registry does not answer, or does not have the training's run.
    """
    with receipts.open_stage(workspace, "register", config=config) as work:
        if work.found:
            return work.found
        contract = read_contract(workspace.onnx_model)
        digest = files.sha256_of_file(workspace.onnx_model)
        evaluated = _evaluation_of(workspace, digest)
        record = files.read_json(workspace.training_record)
        run_id = contract.mlflow_run_id or record["run_id"]
        with runs.run_of(workspace, config=tracking, run_id=run_id):
            version, new = _find_or_create(
                workspace, contract, digest, evaluated, name=config.model_name, step=record.get("best_epoch") or 0
            )
            client = mlflow.MlflowClient()
            for key, value in _tags(config, contract, digest, evaluated).items():
                client.set_model_version_tag(config.model_name, version.version, key, value)
            _describe(client, config.model_name, version, contract, evaluated)
            client.set_registered_model_alias(config.model_name, CHALLENGER, version.version)
            _keep_with_the_run(workspace, contract, digest)
        versions.fetch_model(config.model_name, version, workspace)
        files.write_json(workspace.registration, _registration(config.model_name, version, digest, run_id))
        return work.finish(_register_report(config.model_name, version, new=new), outputs=[workspace.registration])


def _evaluation_of(workspace: Workspace, digest: str) -> dict[str, float]:
    """Return the test metrics of the model, by name."""
    results = files.read_json(workspace.evaluation / "metrics.json")
    if results["onnx_sha256"] != digest:
        message = (
            f"the evaluation is of model {results['onnx_sha256'][:12]}, the exported one is {digest[:12]}. "
            f"Evaluate it: deepfake evaluate --workspace {workspace.root}"
        )
        raise StaleInput(message)
    return {
        f"test_{level}_{name}": row["value"]
        for level, rows in results["overall"].items()
        for name, row in rows.items()
        if row["value"] is not None
    }


def _find_or_create(
    workspace: Workspace, contract: ModelContract, digest: str, evaluated: Mapping[str, float], *, name: str, step: int
) -> tuple[Any, bool]:
    client = mlflow.MlflowClient()
    known = [version for version in versions.all_versions(client, name) if version.tags.get(DIGEST_TAG) == digest]
    if known:
        return known[-1], False
    run = mlflow.active_run()
    stored = client.search_logged_models([run.info.experiment_id], filter_string=f"tags.{DIGEST_TAG} = '{digest}'")
    ready = [model for model in stored if model.source_run_id == run.info.run_id and str(model.status) == "READY"]
    model_id = ready[0].model_id if ready else _store(workspace, contract, digest, step=step)
    faces = files.read_json(workspace.evaluation / "metrics.json").get("faces_digest")
    tested_on = runs.describe_dataset(runs.TEST_DATASET, digest=faces, uri=workspace.faces.as_uri()) if faces else None
    runs.log_metrics(evaluated, model_id=model_id, dataset=tested_on)
    with redirect_stderr(StringIO()):  # MLflow announces what it does on stderr
        version = mlflow.register_model(f"models:/{model_id}", name, tags={DIGEST_TAG: digest})
    return version, True


def _store(workspace: Workspace, contract: ModelContract, digest: str, *, step: int) -> str:
    """Store the ONNX file with the run; return the id of the logged model."""
    info = mlflow.onnx.log_model(
        onnx.load(str(workspace.onnx_model)),
        name="model",
        signature=_signature(contract),
        save_as_external_data=False,
        onnx_execution_providers=["CPUExecutionProvider"],
        metadata=contract.model_dump(mode="json"),
        pip_requirements=list(REQUIREMENTS),
        step=step,
        tags={DIGEST_TAG: digest},
    )
    return str(info.model_id)


def _signature(contract: ModelContract) -> ModelSignature:
    size = contract.face.size
    one = (-1, 1)
    return ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.float32), (-1, size, size, 3), contract.input_name)]),
        outputs=Schema(
            [
                TensorSpec(np.dtype(np.float32), one, contract.logit_output),
                TensorSpec(np.dtype(np.float32), one, contract.probability_output),
            ]
        ),
    )


def _tags(
    config: RegisterConfig, contract: ModelContract, digest: str, evaluated: Mapping[str, float]
) -> dict[str, str]:
    return {
        **config.tags,
        DIGEST_TAG: digest,
        "dataset_digest": contract.dataset_digest,
        "architecture": contract.name,
        "git_commit": contract.git_commit or "unknown",
        **{name: f"{evaluated[name]:.4f}" for name in SHOWN_METRICS if name in evaluated},
        **({"notes": " ".join(contract.notes)} if contract.notes else {}),
    }


def _describe(client: Any, name: str, version: Any, contract: ModelContract, evaluated: Mapping[str, float]) -> None:
    """Write the descriptions that MLflow's pages show; one that a person wrote stays."""
    if not client.get_registered_model(name).description:
        client.update_registered_model(name, MODEL_DESCRIPTION)
    if version.description:
        return
    figures = [f"{shown} {evaluated[key]:.3f}" for key, shown in SHOWN_METRICS.items() if key in evaluated]
    threshold = contract.video_threshold
    client.update_model_version(
        name,
        version.version,
        f"{contract.name}, {contract.face.size} × {contract.face.size} faces found by {contract.detector.name}. "
        f"On test people: {', '.join(figures) or 'no figures'}. A video is manipulated from {threshold.value:.3f} on "
        f"({threshold.chosen_by}).",
    )


def _keep_with_the_run(workspace: Workspace, contract: ModelContract, digest: str) -> None:
    """Store with the run what other workspaces need: predictions for the gate, small weights for the scorer."""
    predictions = workspace.predictions_of(digest)
    if predictions.is_file():
        runs.log_artifact(predictions, "predictions")
    for weights in versions.weights_files(workspace, contract):
        if weights.stat().st_size <= SMALL_WEIGHTS_BYTES:
            runs.log_artifact(weights, "weights")


def _registration(name: str, version: Any, digest: str, run_id: str) -> dict[str, str]:
    return {"name": name, "version": str(version.version), DIGEST_TAG: digest, "run_id": run_id}


def _register_report(name: str, version: Any, *, new: bool) -> StageReport:
    said = "registered" if new else "this model file was registered before"
    return StageReport(
        stage="register",
        counts={"registered": int(new)},
        notes=(f"{said}: {name} version {version.version}, alias {CHALLENGER}",),
        table=({"model": name, "version": str(version.version), "alias": CHALLENGER},),
        outputs={"model": f"models:/{name}/{version.version}"},
    )


# Find ---------------------------------------------------------------------------------------------------------------


def resolve_model(
    workspace: Workspace, *, uri: str | None, config: RegisterConfig, tracking: TrackingConfig
) -> ResolvedModel:
    """Return a model of the registry as a verified file.

    Args:
        workspace: keeps the file, so that it is downloaded once.
        uri: ``models:/name@alias``, ``models:/name/version`` or a name, which means its alias ``production``;
            None: the configured name.
        config: name of the registered model.
        tracking: where the registry is.

    Raises:
        RegistryError: there is no such model, version or alias (the message names what there is), or the stored file
            is not the one that was registered.
        TrackingError: the registry does not answer.
    """
    runs.connect(workspace, config=tracking)
    client = mlflow.MlflowClient()
    name, version = versions.find_version(client, uri or config.model_name)
    path = versions.fetch_model(name, version, workspace)
    versions.fetch_weights(client, version, workspace, contract=read_contract(path))
    return ResolvedModel(path=path, name=name, version=str(version.version))


def list_models(workspace: Workspace, *, config: RegisterConfig, tracking: TrackingConfig) -> list[dict[str, Cell]]:
    """Return a row a version, the newest first: aliases, time, test metrics, and how it got into production."""
    runs.connect(workspace, config=tracking)
    client = mlflow.MlflowClient()
    aliases: dict[str, list[str]] = {}
    for alias, number in versions.aliases_of(client, config.model_name).items():
        aliases.setdefault(str(number), []).append(alias)
    return [
        {
            "version": str(version.version),
            "aliases": ", ".join(sorted(aliases.get(str(version.version), []))),
            "created": datetime.fromtimestamp(version.creation_timestamp / 1000, UTC).strftime("%Y-%m-%d %H:%M"),
            "test_video_auc": _number(version.tags.get("test_video_auc")),
            "test_frame_auc": _number(version.tags.get("test_frame_auc")),
            "gate": version.tags.get("gate", ""),
            "promoted_by": version.tags.get("promoted_by", ""),
            "reason": version.tags.get("promotion_reason", ""),
            DIGEST_TAG: version.tags.get(DIGEST_TAG, "")[:12],
        }
        for version in reversed(versions.all_versions(client, config.model_name))
    ]


def _number(text: str | None) -> float | None:
    return float(text) if text else None


# Production ---------------------------------------------------------------------------------------------------------


def rollback_model(
    workspace: Workspace, *, config: RegisterConfig, tracking: TrackingConfig, reason: str
) -> StageReport:
    """Put the version that was in production before back there.

    Args:
        workspace: keeps a line about it beside the promotion reports.
        config: name of the registered model.
        tracking: where the registry is.
        reason: why; kept with both versions.

    Raises:
        RegistryError: there is no version to go back to.
    """
    runs.connect(workspace, config=tracking)
    client = mlflow.MlflowClient()
    name = config.model_name
    current = versions.production_of(client, name)
    if current is None:
        message = f"model {name!r} has nothing in production. {versions.what_there_is(client, name)}"
        raise RegistryError(message)
    previous = history.previous_version(versions.history_of(client, name, production=str(current.version)))
    if previous is None:
        message = f"{name} version {current.version} is the first in production: there is nothing to go back to."
        raise RegistryError(message)
    event = Event(action="rollback", version=previous, at=history.now(), by=history.who(), reason=reason)
    versions.put_into_production(client, name, event)
    told = f"by {event.by} at {event.at}: {reason}"
    client.set_model_version_tag(name, str(current.version), versions.ROLLED_BACK_TAG, told)
    client.set_model_version_tag(name, previous, "restored", told)
    versions.record_decision(workspace, {**event.model_dump(), "model": name, "instead_of": str(current.version)})
    return StageReport(
        stage="rollback",
        notes=(f"{name}: version {previous} is in production again, version {current.version} is not",),
        table=({"model": name, "production": previous, "was": str(current.version), "reason": reason},),
        outputs={"decisions": str(workspace.decisions)},
    )
