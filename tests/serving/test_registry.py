"""What is registered is what was exported; what is in production can be found, verified and taken back."""

import mlflow
import pytest

from deepfake_core import files
from deepfake_core.config import RegisterConfig
from deepfake_core.errors import MissingInput, RegistryError, StaleInput
from deepfake_core.serving import history, versions
from deepfake_core.serving.history import Event
from deepfake_core.serving.registry import list_models, register_model, resolve_model, rollback_model
from deepfake_core.specs import DetectorSpec

NAME = "tiny"
CONFIG = RegisterConfig(model_name=NAME, tags={"purpose": "test"})


@pytest.fixture
def registered(evaluated, tracking_config):
    """Return a workspace whose model is registered."""
    workspace = evaluated()
    register_model(workspace, config=CONFIG, tracking=tracking_config)
    return workspace


def put(client, version, *, reason="because", action="promote"):
    event = Event(action=action, version=version, at=history.now(), by="ann@lab", reason=reason)
    versions.put_into_production(client, NAME, event)


def another_version(workspace, client):
    """Register the same stored model once more, as version after version of a real registry would be."""
    first = client.get_model_version(NAME, "1")
    return str(client.create_model_version(NAME, first.source, run_id=first.run_id, tags=first.tags).version)


def test_the_registry_stores_the_exported_bytes_and_says_what_they_are(registered):
    client = mlflow.MlflowClient()
    version = client.get_model_version_by_alias(NAME, "challenger")
    digest = files.sha256_of_file(registered.onnx_model)

    assert version.tags["onnx_sha256"] == digest
    assert version.tags["purpose"] == "test"
    assert "64 × 64 faces found by haar. On test people: video AUC 0." in version.description
    assert "`deepfake score`" in client.get_registered_model(NAME).description
    assert version.tags["dataset_digest"] == "0" * 64
    assert 0.5 < float(version.tags["test_video_auc"]) <= 1.0
    assert version.run_id == files.read_json(registered.training_record)["run_id"]
    assert files.sha256_of_file(registered.registered_model(digest)) == digest
    info = mlflow.models.get_model_info(f"models:/{NAME}/1")
    assert info.metadata["face"]["size"] == 64
    assert info.signature.inputs.input_names() == ["images"]
    assert files.read_json(registered.registration)["version"] == "1"


def test_the_model_carries_its_test_metrics_and_the_run_its_predictions(registered):
    client = mlflow.MlflowClient()
    version = client.get_model_version(NAME, "1")
    model = client.get_logged_model(version.source.rsplit("/", 1)[1])

    tested = {
        metric.key: (metric.dataset_name, metric.dataset_digest) for metric in model.metrics if metric.dataset_name
    }
    assert set(tested) >= {"test_video_auc", "test_frame_auc"}
    assert set(tested.values()) == {("faces-test", "f" * 36)}
    stored = [item.path for item in client.list_artifacts(version.run_id, "predictions")]
    assert stored == [f"predictions/{version.tags['onnx_sha256']}.parquet"]


def test_another_workspace_of_the_same_registry_finds_the_predictions_with_the_run(registered):
    version = mlflow.MlflowClient().get_model_version(NAME, "1")
    path = registered.predictions_of(version.tags["onnx_sha256"])
    kept = path.read_bytes()
    path.unlink()

    assert versions.fetch_predictions(registered, version) == path
    assert path.read_bytes() == kept


def test_the_same_file_is_registered_once(registered, tracking_config):
    again = register_model(registered, config=CONFIG, tracking=tracking_config)
    renamed = CONFIG.model_copy(update={"tags": {"purpose": "another"}})
    retagged = register_model(registered, config=renamed, tracking=tracking_config)

    assert again.outcome == "found"
    assert retagged.counts == {"registered": 0}
    assert len(mlflow.MlflowClient().search_model_versions(f"name = '{NAME}'")) == 1
    assert mlflow.MlflowClient().get_model_version(NAME, "1").tags["purpose"] == "another"


def test_a_kill_between_storing_and_registering_stores_nothing_twice(evaluated, tracking_config, monkeypatch):
    workspace = evaluated()

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(mlflow, "register_model", killed)
        with pytest.raises(KeyboardInterrupt):
            register_model(workspace, config=CONFIG, tracking=tracking_config)
    register_model(workspace, config=CONFIG, tracking=tracking_config)

    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name(tracking_config.experiment).experiment_id
    assert len(client.search_logged_models([experiment])) == 1
    assert len(client.search_model_versions(f"name = '{NAME}'")) == 1


def test_without_a_production_version_the_error_says_what_there_is(registered, tracking_config):
    with pytest.raises(RegistryError, match=r"no alias 'production'.*Versions: 1.*challenger → 1.*deepfake promote"):
        resolve_model(registered, uri=None, config=CONFIG, tracking=tracking_config)
    with pytest.raises(RegistryError, match=r"no version 9"):
        resolve_model(registered, uri=f"models:/{NAME}/9", config=CONFIG, tracking=tracking_config)
    with pytest.raises(RegistryError, match=r"no such model.*Registered are: tiny"):
        resolve_model(registered, uri="models:/large@production", config=CONFIG, tracking=tracking_config)
    with pytest.raises(RegistryError, match=r"models:/NAME@ALIAS"):
        resolve_model(registered, uri="models:/tiny/newest", config=CONFIG, tracking=tracking_config)


def test_an_empty_registry_says_how_to_fill_it(exported_workspace, tracking_config):
    workspace = exported_workspace(test_groups=1)

    with pytest.raises(RegistryError, match="deepfake register"):
        resolve_model(workspace, uri=None, config=CONFIG, tracking=tracking_config)
    assert list_models(workspace, config=CONFIG, tracking=tracking_config) == []


@pytest.mark.parametrize("uri", [None, "tiny", "models:/tiny@production", "models:/tiny/1", "models:/tiny@challenger"])
def test_a_model_is_found_by_uri_alias_or_name(registered, tracking_config, uri):
    put(mlflow.MlflowClient(), "1")

    model = resolve_model(registered, uri=uri, config=CONFIG, tracking=tracking_config)

    assert (model.name, model.version) == (NAME, "1")
    assert files.sha256_of_file(model.path) == files.sha256_of_file(registered.onnx_model)


def test_a_stored_file_that_was_altered_is_refused(registered, tracking_config):
    digest = files.sha256_of_file(registered.onnx_model)
    registered.registered_model(digest).unlink()
    (stored,) = registered.mlflow_artifacts.rglob("model.onnx")
    stored.write_bytes(stored.read_bytes() + b"\x00")

    with pytest.raises(RegistryError, match="was altered"):
        resolve_model(registered, uri="models:/tiny/1", config=CONFIG, tracking=tracking_config)


def test_a_damaged_copy_in_the_workspace_is_fetched_again(registered, tracking_config):
    digest = files.sha256_of_file(registered.onnx_model)
    registered.registered_model(digest).write_bytes(b"rubbish")

    model = resolve_model(registered, uri="models:/tiny/1", config=CONFIG, tracking=tracking_config)

    assert files.sha256_of_file(model.path) == digest


def test_small_detector_weights_travel_with_the_model(evaluated, tracking_config):
    digest = files.sha256_of_bytes(b"weights")
    workspace = evaluated(detector=DetectorSpec(name="yunet", weights_sha256=digest))
    files.write_bytes(workspace.weights / f"{digest}.onnx", b"weights")
    register_model(workspace, config=CONFIG, tracking=tracking_config)
    (workspace.weights / f"{digest}.onnx").unlink()

    resolve_model(workspace, uri="models:/tiny/1", config=CONFIG, tracking=tracking_config)

    assert (workspace.weights / f"{digest}.onnx").read_bytes() == b"weights"


def test_a_stale_evaluation_keeps_a_model_out_of_the_registry(evaluated, tracking_config):
    workspace = evaluated()
    results = files.read_json(workspace.evaluation / "metrics.json")
    files.write_json(workspace.evaluation / "metrics.json", {**results, "onnx_sha256": "f" * 64})

    with pytest.raises(StaleInput):
        register_model(workspace, config=CONFIG, tracking=tracking_config)


def test_versions_are_listed_newest_first_with_aliases_and_metrics(registered, tracking_config):
    client = mlflow.MlflowClient()
    another_version(registered, client)
    put(client, "1")

    rows = list_models(registered, config=CONFIG, tracking=tracking_config)

    assert [row["version"] for row in rows] == ["2", "1"]
    assert rows[1]["aliases"] == "challenger, production"
    assert rows[1]["test_video_auc"] > 0.5
    assert len({tuple(row) for row in rows}) == 1


def test_a_rollback_returns_to_the_version_before_and_is_recorded(registered, tracking_config):
    client = mlflow.MlflowClient()
    another_version(registered, client)
    put(client, "1")
    put(client, "2")
    assert versions.aliases_of(client, NAME)["previous"] == "1"

    report = rollback_model(registered, config=CONFIG, tracking=tracking_config, reason="false alarms on interviews")

    aliases = versions.aliases_of(client, NAME)
    assert aliases["production"] == "1"
    assert "previous" not in aliases
    assert "version 1 is in production again" in report.notes[0]
    assert "false alarms on interviews" in client.get_model_version(NAME, "2").tags["rolled_back"]
    assert '"action": "rollback"' in registered.decisions.read_text()


def test_there_is_no_way_back_from_the_first_version(registered, tracking_config):
    with pytest.raises(RegistryError, match="nothing in production"):
        rollback_model(registered, config=CONFIG, tracking=tracking_config, reason="no")
    put(mlflow.MlflowClient(), "1")
    with pytest.raises(RegistryError, match="nothing to go back to"):
        rollback_model(registered, config=CONFIG, tracking=tracking_config, reason="no")


def test_rollbacks_in_a_row_go_further_back_and_never_swing():
    events = tuple(
        Event(action=action, version=version, at="t", by="ann")
        for action, version in [("promote", "1"), ("promote", "2"), ("promote", "3"), ("rollback", "2")]
    )

    assert history.previous_version(events) == "1"
    assert history.previous_version((*events, Event(action="rollback", version="1", at="t", by="ann"))) is None
    assert history.previous_version((*events, Event(action="promote", version="4", at="t", by="ann"))) == "2"


def test_an_alias_moved_by_hand_enters_the_history():
    events = (Event(action="promote", version="1", at="t", by="ann"),)

    known = history.reconcile(events, "5")

    assert history.production_stack(known) == ["1", "5"]
    assert known[-1].action == "external"
    assert history.reconcile(known, "5") == known
    assert history.parse_history(history.dump_history(known)) == known


def test_registering_needs_the_evaluation(exported_workspace, tracking_config):
    workspace = exported_workspace(test_groups=1)

    with pytest.raises(MissingInput, match="deepfake evaluate"):
        register_model(workspace, config=CONFIG, tracking=tracking_config)
