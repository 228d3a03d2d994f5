"""MLflow runs: where they are kept, how they begin and end, and what is logged to them.

The store is ``tracking.uri``, else ``MLFLOW_TRACKING_URI``, else SQLite inside the workspace. Everything but
``connect`` and ``run_of`` logs to the run that ``run_of`` opened.
"""

import logging
import math
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import mlflow
from filelock import FileLock
from mlflow.data.dataset_source_registry import resolve_dataset_source
from mlflow.data.meta_dataset import MetaDataset
from mlflow.exceptions import MlflowException
from mlflow.telemetry import set_telemetry_client
from mlflow.utils.validation import MAX_PARAM_VAL_LENGTH, MAX_PARAMS_TAGS_PER_BATCH

from deepfake_core.config import TrackingConfig
from deepfake_core.errors import TrackingError
from deepfake_core.workspace import Workspace

URI_VARIABLE = "MLFLOW_TRACKING_URI"
TEST_DATASET = "faces-test"
"""What MLflow calls the faces of the test split, which evaluation logs and a model's metrics refer to."""
_SERVERS = ("http", "https", "databricks", "databricks-uc")
_QUIET = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
}
"""No reports about the user to anybody, no bars of its own, and an error within seconds where no server answers."""
_EXPERIMENT_TAGS = {
    "mlflow.experimentKind": "custom_model_development",
    "mlflow.note.content": "Deepfake detectors, a run a training: its data, curves, evaluation and promotions.",
}
"""That these are trainings and no language models, and what they are for; seen above the list of runs."""


def tracking_uri(workspace: Workspace, *, config: TrackingConfig) -> str:
    """Return the URI of the store; it may hold credentials, so show people ``public_uri`` of it."""
    return config.uri or os.environ.get(URI_VARIABLE) or _sqlite_uri(workspace.mlflow_db)


def public_uri(uri: str) -> str:
    """Return ``uri`` without user name and password."""
    parts = urlsplit(uri)
    if "@" not in parts.netloc:
        return uri
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def connect(workspace: Workspace, *, config: TrackingConfig) -> str:
    """Point MLflow at the store, create the experiment where it is missing, and return the experiment's id.

    Artifacts go to the tracking server where there is one, else into the workspace and never into the current folder.

    Raises:
        TrackingError: the store does not answer, or the experiment was deleted.
    """
    _be_quiet()
    uri = tracking_uri(workspace, config=config)
    # MLflow's migration breaks when several processes open a fresh SQLite file at once: one at a time.
    with FileLock(workspace.root / ".mlflow.lock"), _no_folders_left_beside(uri):
        _point_mlflow_at(uri)
        try:
            return _experiment_id(workspace, name=config.experiment, uri=uri)
        except MlflowException as error:
            message = f"MLflow at {public_uri(uri)} does not answer as it should: {_without_secrets(error, uri)}"
            raise TrackingError(message) from None


def _point_mlflow_at(uri: str) -> None:
    # MLflow writes the URI into the environment, where it would pass for the user's wish and send the next workspace
    # of this process to this one's store.
    wish = os.environ.get(URI_VARIABLE)
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    if wish is None:
        os.environ.pop(URI_VARIABLE, None)
    else:
        os.environ[URI_VARIABLE] = wish


def _experiment_id(workspace: Workspace, *, name: str, uri: str) -> str:
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        served = urlsplit(uri).scheme in _SERVERS
        try:
            location = None if served else workspace.mlflow_artifacts.as_uri()
            return str(client.create_experiment(name, location, tags=_EXPERIMENT_TAGS))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            experiment = client.get_experiment_by_name(name)  # another machine was quicker
    if experiment.lifecycle_stage != "active":
        message = (
            f"the experiment {name!r} was deleted. Restore it (mlflow experiments restore) or set tracking.experiment."
        )
        raise TrackingError(message)
    return str(experiment.experiment_id)


@contextmanager
def run_of(
    workspace: Workspace,
    *,
    config: TrackingConfig,
    run_id: str | None = None,
    name: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """Begin a run, or go on with the run ``run_id``; yield its id.

    The run ends as FINISHED, as KILLED on Ctrl-C and as FAILED on any other error; a run that was FINISHED before
    stays so, because the failure of a later stage is not its own.

    Raises:
        TrackingError: the store does not answer, or has no such run.
    """
    experiment = connect(workspace, config=config)
    finished_before = _status_of(run_id) == "FINISHED" if run_id else False
    if run_id:
        run = mlflow.start_run(run_id=run_id)
        mlflow.set_tags(dict(tags or {}))
    else:
        run = mlflow.start_run(experiment_id=experiment, run_name=name, tags=dict(tags or {}))
    status = "FAILED"
    try:
        yield str(run.info.run_id)
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        mlflow.end_run("FINISHED" if finished_before else status)


def _status_of(run_id: str) -> str:
    try:
        return str(mlflow.MlflowClient().get_run(run_id).info.status)
    except MlflowException as error:
        uri = mlflow.get_tracking_uri()
        message = (
            f"MLflow at {public_uri(uri)} has no run {run_id}: {_without_secrets(error, uri)} "
            "Point tracking.uri at the store that the model was trained with, or train again."
        )
        raise TrackingError(message) from None


# What is logged -----------------------------------------------------------------------------------------------------


def log_params(values: Mapping[str, Any]) -> None:
    """Log a configuration: nested keys become ``section.key``; values too long for MLflow are cut."""
    flat = {key: _short(value) for key, value in flatten(values).items()}
    keys = sorted(flat)
    for start in range(0, len(keys), MAX_PARAMS_TAGS_PER_BATCH):
        mlflow.log_params({key: flat[key] for key in keys[start : start + MAX_PARAMS_TAGS_PER_BATCH]})


def log_metrics(
    values: Mapping[str, float | None],
    *,
    step: int | None = None,
    model_id: str | None = None,
    dataset: MetaDataset | None = None,
) -> None:
    """Log metrics at once; those that are null or not finite are left out, for MLflow would show them as numbers.

    Args:
        values: by name.
        step: such as the epoch.
        model_id: of the logged model that they belong to as well.
        dataset: from ``describe_dataset``: what they were measured on.
    """
    finite = {key: float(value) for key, value in values.items() if value is not None and math.isfinite(value)}
    if finite:
        mlflow.log_metrics(finite, step=step, model_id=model_id, dataset=dataset)


def log_tags(values: Mapping[str, str]) -> None:
    """Set tags of the run."""
    mlflow.set_tags(dict(values))


def log_artifact(path: Path, folder: str | None = None) -> None:
    """Store a file with the run, below ``folder``."""
    mlflow.log_artifact(str(path), artifact_path=folder)


def log_figure(figure: Any, path: str) -> None:
    """Store a Matplotlib figure with the run at ``path``, such as ``plots/roc.png``."""
    mlflow.log_figure(figure, path, save_kwargs={"dpi": 150, "bbox_inches": None})


def log_dataset(name: str, *, digest: str, context: str, uri: str, tags: Mapping[str, str] | None = None) -> None:
    """Record which data the run used.

    Args:
        name: of the data set.
        digest: of its content; the whole one becomes the tag ``sha256``.
        context: ``training``, ``validation`` or ``test``.
        uri: where it lies.
        tags: more about it, such as counts.
    """
    dataset = describe_dataset(name, digest=digest, uri=uri)
    mlflow.log_input(dataset, context=context, tags={"sha256": digest, **(tags or {})})


def describe_dataset(name: str, *, digest: str, uri: str) -> MetaDataset:
    """Return a data set as MLflow describes one; it keeps 36 characters of the digest."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # MLflow finds its own local source ambiguous with itself
        source = resolve_dataset_source(uri)
    return MetaDataset(source=source, name=name, digest=digest[:36])


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one, with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= MAX_PARAM_VAL_LENGTH else text[: MAX_PARAM_VAL_LENGTH - 1] + "…"


def describe_run(text: str) -> None:
    """Give the run its description, in Markdown; it stands above its metrics."""
    mlflow.set_tag("mlflow.note.content", text)


# The surroundings ---------------------------------------------------------------------------------------------------


def _sqlite_uri(path: Path) -> str:
    # MLflow decodes the path of the URI but not the folder that it creates for it, so only what must be quoted is.
    return "sqlite:///" + str(path).replace("%", "%25").replace("?", "%3F")


@contextmanager
def _no_folders_left_beside(uri: str) -> Iterator[None]:
    """Remove the empty folders that MLflow makes where it takes the quoted path of the URI for a path."""
    folder = Path(uri.removeprefix("sqlite:///")).parent
    quoted = uri.startswith("sqlite:///") and "%" in str(folder)
    new = [parent for parent in (folder, *folder.parents) if quoted and not parent.exists()]
    yield
    for parent in new:
        if parent.is_dir() and not any(parent.iterdir()):
            parent.rmdir()


def _be_quiet() -> None:
    for variable, value in _QUIET.items():
        os.environ.setdefault(variable, value)
    set_telemetry_client()  # MLflow decided when it was imported; let it look again
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _without_secrets(error: Exception, uri: str) -> str:
    text = str(error).replace(uri, public_uri(uri))
    password = urlsplit(uri).password
    return text.replace(password, "***") if password else text
