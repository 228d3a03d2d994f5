"""The versions of a registered model: find one, fetch its file and what was kept with it, move the aliases.

A version is an ONNX file with its contract inside; its tag ``onnx_sha256`` says which. Aliases say what it is for:
``challenger`` (the latest registered), ``production`` and ``previous``. Stages, which MLflow gave up, are not used.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
from mlflow.exceptions import MlflowException

from deepfake_core import files
from deepfake_core.contract import ModelContract
from deepfake_core.errors import RegistryError
from deepfake_core.serving import history
from deepfake_core.serving.history import Event
from deepfake_core.workspace import Workspace

CHALLENGER, PRODUCTION, PREVIOUS = "challenger", "production", "previous"
DIGEST_TAG = "onnx_sha256"
ROLLED_BACK_TAG = "rolled_back"
MODEL_FILE = "model.onnx"


def find_version(client: Any, uri: str) -> tuple[str, Any]:
    """Return the name and the MLflow version that a URI or a name stands for.

    Raises:
        RegistryError: there is none.
    """
    name, alias, number = _parse(uri)
    try:
        if number:
            return name, client.get_model_version(name, number)
        return name, client.get_model_version_by_alias(name, alias)
    except MlflowException:
        wanted = f"version {number}" if number else f"alias {alias!r}"
        message = f"model {name!r} has no {wanted}. {what_there_is(client, name)}"
        raise RegistryError(message) from None


def _parse(uri: str) -> tuple[str, str, str]:
    """Return name, alias and version of a model URI; one of the last two is empty."""
    rest = uri.removeprefix("models:/").strip("/")
    if "@" in rest:
        name, _, alias = rest.partition("@")
        version = ""
    elif "/" in rest:
        name, _, version = rest.partition("/")
        alias = ""
    else:
        name, alias, version = rest, PRODUCTION, ""
    if not name or not (alias or version) or (version and not version.isdigit()):
        message = f"a model is models:/NAME@ALIAS, models:/NAME/VERSION or NAME. Received: {uri!r}"
        raise RegistryError(message)
    return name, alias, version


def what_there_is(client: Any, name: str) -> str:
    """Return sentences that name the versions and aliases of a model, or the models of the registry."""
    try:
        model = client.get_registered_model(name)
    except MlflowException:
        names = sorted(model.name for model in client.search_registered_models())
        there = f"Registered are: {', '.join(names)}." if names else "Nothing is registered yet."
        return f"There is no such model. {there} Register one: deepfake register"
    numbers = ", ".join(str(version.version) for version in all_versions(client, name)) or "none"
    aliases = ", ".join(f"{alias} → {number}" for alias, number in sorted(model.aliases.items())) or "none"
    hint = "" if PRODUCTION in model.aliases else " Promote one: deepfake promote"
    return f"Versions: {numbers}. Aliases: {aliases}.{hint}"


def all_versions(client: Any, name: str) -> list[Any]:
    """Return all versions of a model, oldest first."""
    found: list[Any] = []
    token: str | None = None
    while True:
        page = client.search_model_versions(f"name = '{_quoted(name)}'", max_results=200, page_token=token)
        found += page
        token = page.token
        if not token:
            return sorted(found, key=lambda version: int(version.version))


def _quoted(name: str) -> str:
    return name.replace("'", "\\'")


def fetch_model(name: str, version: Any, workspace: Workspace) -> Path:
    """Return the version's ONNX file, downloaded once and verified by the digest of its tag.

    Raises:
        RegistryError: the stored file is not the one that was registered, or cannot be downloaded.
    """
    digest = version.tags.get(DIGEST_TAG)
    if not digest:
        message = f"{name} version {version.version} has no tag {DIGEST_TAG!r}: it was not made by 'deepfake register'."
        raise RegistryError(message)
    path = workspace.registered_model(digest)
    if path.is_file() and files.sha256_of_file(path) == digest:
        return path
    with _fetched(f"models:/{name}/{version.version}/{MODEL_FILE}") as fetched:
        found = files.sha256_of_file(fetched)
        if found != digest:
            message = (
                f"the stored file of {name} version {version.version} was altered: its SHA-256 is {found}, "
                f"registered was {digest}."
            )
            raise RegistryError(message)
        with files.replacing(path) as temporary:
            shutil.copyfile(fetched, temporary)
    return path


def fetch_weights(client: Any, version: Any, workspace: Workspace, *, contract: ModelContract) -> None:
    """Put the weights of the model's detector into the workspace, where the run kept them."""
    digest = contract.detector.weights_sha256
    if digest is None or weights_files(workspace, contract) or not version.run_id:
        return
    for item in client.list_artifacts(version.run_id, "weights"):
        if digest in item.path:
            with _fetched(f"runs:/{version.run_id}/{item.path}") as fetched:
                if files.sha256_of_file(fetched) == digest:
                    files.write_bytes(workspace.weights / Path(item.path).name, fetched.read_bytes())


def fetch_predictions(workspace: Workspace, version: Any) -> Path | None:
    """Return the stored test predictions of a version: the workspace's, else those kept with its run, else None."""
    path = workspace.predictions_of(version.tags.get(DIGEST_TAG, "unknown"))
    if path.is_file() or not version.run_id:
        return path if path.is_file() else None
    client = mlflow.MlflowClient()
    kept = {item.path for item in client.list_artifacts(version.run_id, "predictions")}
    if f"predictions/{path.name}" not in kept:
        return None
    with _fetched(f"runs:/{version.run_id}/predictions/{path.name}") as fetched:
        files.write_bytes(path, fetched.read_bytes())
    return path


@contextmanager
def _fetched(uri: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="deepfake-") as folder:
        try:
            yield Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=folder))
        except (MlflowException, OSError) as error:
            message = f"cannot download {uri}: {error}"
            raise RegistryError(message) from None


def weights_files(workspace: Workspace, contract: ModelContract) -> list[Path]:
    """Return the files of the workspace that hold the weights of the model's detector."""
    digest = contract.detector.weights_sha256
    return sorted(workspace.weights.glob(f"{digest}*")) if digest else []


# Aliases and their history --------------------------------------------------------------------------------------------


def aliases_of(client: Any, name: str) -> dict[str, str]:
    """Return alias → version of a model; nothing for a model that is not registered."""
    try:
        aliases = client.get_registered_model(name).aliases
    except MlflowException:
        return {}
    return {alias: str(version) for alias, version in aliases.items()}


def production_of(client: Any, name: str) -> Any | None:
    """Return the MLflow version in production, or None."""
    number = aliases_of(client, name).get(PRODUCTION)
    return client.get_model_version(name, number) if number else None


def put_into_production(client: Any, name: str, event: Event) -> str | None:
    """Move the aliases as ``event`` says and write it into the history; return the version that was there before."""
    before = aliases_of(client, name).get(PRODUCTION)
    events = (*history_of(client, name, production=before), event)
    # The alias first: what a kill leaves between the two, the next change finds and reconciles.
    client.set_registered_model_alias(name, PRODUCTION, event.version)
    client.set_registered_model_tag(name, history.TAG, history.dump_history(events))
    previous = history.previous_version(events)
    if previous:
        client.set_registered_model_alias(name, PREVIOUS, previous)
    elif PREVIOUS in aliases_of(client, name):
        client.delete_registered_model_alias(name, PREVIOUS)
    return before


def history_of(client: Any, name: str, *, production: str | None) -> tuple[Event, ...]:
    """Return the history of a model, brought in line with what is in production."""
    past = history.parse_history(client.get_registered_model(name).tags.get(history.TAG))
    return history.reconcile(past, production)


def record_decision(workspace: Workspace, values: Mapping[str, Any]) -> None:
    """Append a decision to the workspace's log of decisions, a JSON object a line."""
    workspace.decisions.parent.mkdir(parents=True, exist_ok=True)
    with workspace.decisions.open("a", encoding="utf-8") as log:
        log.write(json.dumps(dict(values), sort_keys=True, ensure_ascii=False) + "\n")
