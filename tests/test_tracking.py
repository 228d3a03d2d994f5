"""Runs are kept in the workspace, end as what they were, and give no secret away."""

import os
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest

from deepfake_core import tracking
from deepfake_core.config import TrackingConfig, TrainConfig
from deepfake_core.errors import TrackingError
from deepfake_core.workspace import Workspace

OPEN = """
import sys
from pathlib import Path
from deepfake_core import tracking
from deepfake_core.config import TrackingConfig
from deepfake_core.workspace import Workspace
print(tracking.connect(Workspace(Path(sys.argv[1])), config=TrackingConfig(experiment="together")))
"""


@pytest.fixture
def tracked(workspace, tracking_config, empty_mlflow_db):
    """Return a workspace with an empty store."""
    workspace.mlflow_db.write_bytes(empty_mlflow_db.read_bytes())
    return workspace


def status_of(run_id):
    return mlflow.MlflowClient().get_run(run_id).info.status


def test_two_processes_open_a_fresh_store_at_once(tmp_path):
    workspace = Workspace.open(tmp_path / "w")
    environment = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN, str(workspace.root)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=tmp_path,
        )
        for _ in range(2)
    ]
    told = [process.communicate(timeout=200) for process in processes]

    assert [process.returncode for process in processes] == [0, 0], told
    assert len({out for out, _ in told}) == 1
    assert all(err == "" for _, err in told), "MLflow's start-up noise reaches people"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["w"]


@pytest.mark.parametrize("name", ["Prüfung 1 %", "what?", "a#b;c&d=e", "x%20y"])
def test_a_workspace_of_any_name_keeps_everything_inside(tmp_path, tracking_config, empty_mlflow_db, name):
    workspace = Workspace.open(tmp_path / name)
    workspace.mlflow_db.write_bytes(empty_mlflow_db.read_bytes())
    (tmp_path / "note.txt").write_text("hello")

    with tracking.run_of(workspace, config=tracking_config, name="x") as run_id:
        tracking.log_artifact(tmp_path / "note.txt", "notes")

    assert workspace.mlflow_artifacts.is_dir()
    assert [path.read_text() for path in workspace.mlflow_artifacts.rglob("note.txt")] == ["hello"]
    assert status_of(run_id) == "FINISHED"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "note.txt"])


def test_two_workspaces_of_one_process_keep_their_runs_apart(tmp_path, tracking_config, empty_mlflow_db):
    found = []
    for name in ("first", "second"):
        workspace = Workspace.open(tmp_path / name)
        workspace.mlflow_db.write_bytes(empty_mlflow_db.read_bytes())
        with tracking.run_of(workspace, config=tracking_config, name=name):
            found.append(mlflow.search_runs(experiment_names=["test"])["tags.mlflow.runName"].tolist())

    assert found == [["first"], ["second"]]


def test_the_users_own_store_is_used_for_every_workspace(tmp_path, tracking_config, empty_mlflow_db, monkeypatch):
    shared = tmp_path / "shared.db"
    shared.write_bytes(empty_mlflow_db.read_bytes())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{shared}")

    for name in ("first", "second"):
        with tracking.run_of(Workspace.open(tmp_path / name), config=tracking_config, name=name):
            tracking.describe_run("a *run*")

    runs = mlflow.search_runs(experiment_names=["test"])
    assert sorted(runs["tags.mlflow.runName"]) == ["first", "second"]
    assert set(runs["tags.mlflow.note.content"]) == {"a *run*"}


@pytest.mark.parametrize(
    ("error", "status"), [(None, "FINISHED"), (ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")]
)
def test_a_run_ends_as_what_it_was(tracked, tracking_config, error, status):
    ids = []

    def work():
        with tracking.run_of(tracked, config=tracking_config, name="x", tags={"purpose": "test"}) as run_id:
            ids.append(run_id)
            if error:
                raise error

    if error:
        with pytest.raises(error):
            work()
    else:
        work()

    run = mlflow.MlflowClient().get_run(ids[0])
    assert run.info.status == status
    assert run.data.tags["purpose"] == "test"
    assert mlflow.active_run() is None


def test_a_run_goes_on_and_a_later_failure_does_not_make_it_a_failed_one(tracked, tracking_config):
    with tracking.run_of(tracked, config=tracking_config, name="training") as run_id:
        tracking.log_metrics({"val_auc": 0.9}, step=1)

    with pytest.raises(ValueError, match="evaluation"), tracking.run_of(tracked, config=tracking_config, run_id=run_id):
        raise ValueError("evaluation failed")

    assert status_of(run_id) == "FINISHED"
    with tracking.run_of(tracked, config=tracking_config, run_id=run_id) as same:
        tracking.log_metrics({"val_auc": 0.95}, step=2)
    assert same == run_id
    assert [point.value for point in mlflow.MlflowClient().get_metric_history(run_id, "val_auc")] == [0.9, 0.95]


def test_an_unknown_run_is_a_clear_error(tracked, tracking_config):
    with (
        pytest.raises(TrackingError, match=r"no run 0{32}.*tracking\.uri"),
        tracking.run_of(tracked, config=tracking_config, run_id="0" * 32),
    ):
        pass


def test_the_configuration_names_the_store_before_the_environment_does(workspace, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://from.environment:5000")
    assert tracking.tracking_uri(workspace, config=TrackingConfig()) == "http://from.environment:5000"
    assert tracking.tracking_uri(workspace, config=TrackingConfig(uri="http://given")) == "http://given"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert tracking.tracking_uri(workspace, config=TrackingConfig()) == f"sqlite:///{workspace.mlflow_db}"


def test_a_dead_server_is_a_clear_error_without_its_password(workspace, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    config = TrackingConfig(uri="http://ann:geheim@127.0.0.1:9")

    with pytest.raises(TrackingError, match=r"MLflow at http://127\.0\.0\.1:9") as error:
        tracking.connect(workspace, config=config)

    assert "geheim" not in str(error.value)
    assert tracking.public_uri("postgresql://ann:geheim@db:5432/mlflow") == "postgresql://db:5432/mlflow"


def test_sections_become_dotted_parameters_and_long_ones_are_cut(tracked, tracking_config):
    with tracking.run_of(tracked, config=tracking_config, name="x") as run_id:
        tracking.log_params({"train": TrainConfig().model_dump(mode="json"), "long": "x" * 9000})
        tracking.log_params({f"p{number}": number for number in range(150)})

    params = mlflow.MlflowClient().get_run(run_id).data.params
    assert params["train.augment.flip"] == "0.5"
    assert len(params["long"]) == 6000
    assert params["long"].endswith("…")
    assert params["p149"] == "149"


def test_what_is_no_number_is_not_logged_as_one(tracked, tracking_config):
    with tracking.run_of(tracked, config=tracking_config, name="x") as run_id:
        tracking.log_metrics({"auc": None, "loss": float("nan"), "eer": 0.1})

    assert mlflow.MlflowClient().get_run(run_id).data.metrics == {"eer": 0.1}


def test_a_data_set_is_an_input_of_the_run_with_its_whole_digest(tracked, tracking_config):
    with tracking.run_of(tracked, config=tracking_config, name="x") as run_id:
        tracking.log_dataset(
            "faces", digest="ab" * 32, context="training", uri=tracked.records.as_uri(), tags={"faces": "12"}
        )

    (used,) = mlflow.MlflowClient().get_run(run_id).inputs.dataset_inputs
    tags = {tag.key: tag.value for tag in used.tags}
    assert (used.dataset.name, used.dataset.digest) == ("faces", ("ab" * 32)[:36])
    assert tags == {"mlflow.data.context": "training", "sha256": "ab" * 32, "faces": "12"}


def test_nothing_is_reported_about_anybody(tracked, tracking_config):
    from mlflow.telemetry.client import get_telemetry_client

    tracking.connect(tracked, config=tracking_config)

    assert get_telemetry_client() is None
    assert not (Path.cwd() / "mlruns").exists()
