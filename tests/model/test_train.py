"""A training ends with the best epoch, in one run, whatever happened on the way; and it refuses what it must."""

import json
import os
import shutil
import subprocess
import sys

import keras
import mlflow
import numpy as np
import pytest

from deepfake_core import files, receipts, tables
from deepfake_core.errors import DeviceError, SplitError, TornGroupError, TrainingError
from deepfake_core.model.train import train_model
from deepfake_core.model.training_record import read_training_record

STEPS = 6  # 48 faces in batches of 8

TRAIN_AND_DIE = """
import os, signal, sys
from pathlib import Path
from deepfake_core.config import TrackingConfig, TrainConfig
from deepfake_core.model.train import train_model
from deepfake_core.workspace import Workspace

class DeadlyBar:
    steps = 0
    def advance(self, steps=1.0):
        self.steps += steps
        if self.steps >= int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)
    def say(self, text): pass
    def __enter__(self): return self
    def __exit__(self, *_): return None

class Deadly:
    def bar(self, title, *, total, unit=""): return DeadlyBar()

workspace = Workspace.existing(Path(sys.argv[1]))
config = TrainConfig.model_validate_json(sys.argv[2])
train_model(workspace, config=config, tracking=TrackingConfig(uri=f"sqlite:///{workspace.mlflow_db}"),
            name="tiny", progress=Deadly())
"""


class Interrupting:
    """Progress that is interrupted at a step, as by Ctrl-C."""

    def __init__(self, at: int) -> None:
        self.at, self.steps = at, 0

    def bar(self, title, *, total, unit=""):  # noqa: ARG002 - the protocol's names
        return self

    def advance(self, steps=1.0):
        self.steps += steps
        if self.steps >= self.at:
            raise KeyboardInterrupt

    def say(self, text): ...

    def __enter__(self):
        return self

    def __exit__(self, *_): ...


class Counting(Interrupting):
    """Progress that counts steps and keeps the remarks."""

    def __init__(self) -> None:
        super().__init__(at=10**9)
        self.said: list[str] = []

    def say(self, text):
        self.said.append(text)


def reproducible(workspace) -> list[dict[str, float]]:
    """Return the history without what the clock decides."""
    history = read_training_record(workspace).history
    return [epoch.model_dump(exclude={"seconds", "images_per_second"}) for epoch in history]


def runs_in(workspace, track) -> list[mlflow.entities.Run]:
    client = mlflow.MlflowClient(track(workspace).uri)
    experiment = client.get_experiment_by_name(track(workspace).experiment)
    return list(client.search_runs([experiment.experiment_id]))


def test_the_record_says_where_the_model_comes_from(trained, tiny):
    record = read_training_record(trained)
    index = json.loads(trained.records_index.read_text())

    assert record.name == "tiny"
    assert record.architecture == "xception"
    assert record.epochs == len(record.history) == tiny.epochs
    assert record.history[record.best_epoch - 1].val_loss == min(epoch.val_loss for epoch in record.history)
    assert record.dataset_digest == index["digest"]
    assert record.training_groups == ("000", "002", "004", "006")
    assert record.test_groups == ("008",)
    assert record.keras_sha256 == files.sha256_of_file(trained.keras_model)
    assert record.class_weights == {"0": 1.0, "1": 1.0}
    assert record.seed == tiny.seed
    assert not trained.checkpoints.exists()


def test_the_run_shows_parameters_data_metrics_by_epoch_faces_and_reports(trained_once, track, tiny):
    (run,) = runs_in(trained_once, track)
    client = mlflow.MlflowClient(track(trained_once).uri)

    assert run.info.status == "FINISHED"
    assert run.info.run_name == "tiny"
    assert run.data.params["train.learning_rate"] == str(tiny.learning_rate)
    assert run.data.params["detector.name"] == "haar"
    assert "trained on 48 faces" in run.data.tags["mlflow.note.content"]
    assert run.data.tags["git_commit"]
    for name in ("loss", "val_loss", "val_auc", "learning_rate", "images_per_second"):
        steps = [metric.step for metric in client.get_metric_history(run.info.run_id, name)]
        assert steps == list(range(1, tiny.epochs + 1)), name
    tags = [{tag.key: tag.value for tag in data.tags} for data in run.inputs.dataset_inputs]
    assert {tag["mlflow.data.context"] for tag in tags} == {"training", "validation"}
    assert {tag["sha256"] for tag in tags} == {read_training_record(trained_once).dataset_digest}
    kept = {path.relative_to(trained_once.mlflow_artifacts).as_posix().split("/", 2)[2]
            for path in trained_once.mlflow_artifacts.rglob("*") if path.is_file()}  # fmt: skip
    assert kept >= {
        "data/faces.png", "data/index.json", "data/quality/index.html", "plots/history.png", "training/training.json",
    }  # fmt: skip


def test_a_finished_training_is_found_and_not_done_again(trained, tiny, track):
    before = trained.keras_model.stat().st_mtime_ns

    report = train_model(trained, config=tiny, tracking=track(trained))

    assert report.outcome == "found"
    assert trained.keras_model.stat().st_mtime_ns == before


@pytest.mark.slow
def test_a_killed_training_goes_on_in_the_same_run_with_the_same_history(records, trained, tiny, track):
    command = [sys.executable, "-c", TRAIN_AND_DIE, str(records.root), tiny.model_dump_json(), str(STEPS + 3)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == -9, done.stderr
    assert not records.training_record.exists()

    counting = Counting()
    report = train_model(records, config=tiny, tracking=track(records), name="tiny", progress=counting)

    assert "went on after epoch 1 of a training that had been interrupted" in report.notes
    assert counting.steps == 2 * STEPS
    assert not any(text.startswith("epoch 1/") for text in counting.said)
    assert reproducible(records) == reproducible(trained)
    assert len(runs_in(records, track)) == 1
    assert_same_model(records, trained)


def test_an_interrupted_training_goes_on_in_a_new_run_where_the_old_one_is_gone(records, trained, tiny, track):
    elsewhere = track(records).model_copy(update={"uri": f"sqlite:///{records.root}/elsewhere.db"})
    shutil.copy(records.mlflow_db, records.root / "elsewhere.db")
    with pytest.raises(KeyboardInterrupt):
        train_model(records, config=tiny, tracking=track(records), progress=Interrupting(at=STEPS + 1))
    (killed,) = runs_in(records, track)
    assert killed.info.status == "KILLED"

    train_model(records, config=tiny, tracking=elsewhere, name="tiny")

    run_id = read_training_record(records).run_id
    assert run_id != killed.info.run_id
    logged = mlflow.MlflowClient(elsewhere.uri).get_metric_history(run_id, "val_auc")
    assert [metric.step for metric in logged] == [1, 2]
    assert reproducible(records) == reproducible(trained)


def test_a_changed_configuration_begins_anew_and_whatever_its_precision_the_kept_model_is_float32(records, tiny, track):
    with pytest.raises(KeyboardInterrupt):
        train_model(records, config=tiny, tracking=track(records), progress=Interrupting(at=2))
    changed = tiny.model_copy(update={"precision": "mixed_bfloat16", "epochs": 1})

    report = train_model(records, config=changed, tracking=track(records))

    assert not any("went on" in note for note in report.notes)
    assert sorted(run.info.status for run in runs_in(records, track)) == ["FINISHED", "KILLED"]
    model = keras.models.load_model(records.keras_model, compile=False)
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}


def test_patience_ends_a_training_and_the_best_epoch_is_kept(records, tiny, track):
    # A rate at which the validation loss soon rises.
    config = tiny.model_copy(update={"epochs": 8, "patience": 1, "learning_rate": 0.05, "batch": 24})

    report = train_model(records, config=config, tracking=track(records))

    record = read_training_record(records)
    losses = [epoch.val_loss for epoch in record.history]
    assert record.epochs < 8
    assert record.best_epoch == record.epochs - 1 == int(np.argmin(losses)) + 1
    assert any(note.startswith(f"stopped after epoch {record.epochs}") for note in report.notes)


def test_a_loss_that_is_no_number_ends_the_training(records, tiny, track):
    config = tiny.model_copy(update={"learning_rate": 1e30})

    with pytest.raises(TrainingError, match=r"Lower train\.learning_rate"):
        train_model(records, config=config, tracking=track(records))

    assert not records.keras_model.exists()
    assert runs_in(records, track)[0].info.status == "FAILED"


def test_a_gpu_that_is_not_there_is_an_error(records, tiny, track):
    with pytest.raises(DeviceError, match="sees no GPU"):
        train_model(records, config=tiny.model_copy(update={"device": "gpu"}), tracking=track(records))


def test_torn_groups_are_refused(records, tiny, track):
    rows = tables.read(records.splits_table, schema=tables.SPLITS).to_pylist()
    rows[0]["split"] = "test"
    tables.write(records.splits_table, tables.from_rows(rows, tables.SPLITS), schema=tables.SPLITS)
    forget_upstream(records)

    with pytest.raises(TornGroupError, match="000"):
        train_model(records, config=tiny, tracking=track(records))


def test_a_split_with_one_class_is_refused(records, tiny, track):
    values = json.loads(records.records_index.read_text())
    values["splits"]["val"]["classes"] = {"0": 0, "1": 16}
    records.records_index.write_text(json.dumps(values))
    forget_upstream(records)

    with pytest.raises(SplitError, match="'val' needs originals and manipulated"):
        train_model(records, config=tiny, tracking=track(records))


def forget_upstream(workspace) -> None:
    """Make receipts agree with files that a test edited, so that the gate behind them is reached."""
    digest = ""
    for stage in ("download", "split", "extract", "validate", "records"):
        receipt = receipts.read_receipt(workspace, stage)
        outputs = {path: files.sha256_of_file(workspace.resolve(path)) for path in receipt.outputs}
        inputs = {
            read: receipts.read_receipt(workspace, read).outputs_digest if read in receipt.inputs else digest
            for read in receipt.inputs
        }
        changed = receipt.model_copy(update={"outputs": outputs, "inputs": inputs})
        files.write_json(workspace.receipts / f"{stage}.json", changed.model_dump(mode="json"))


def assert_same_model(one, other) -> None:
    weights = [keras.models.load_model(space.keras_model, compile=False).get_weights() for space in (one, other)]
    for first, second in zip(*weights, strict=True):
        np.testing.assert_array_equal(first, second)
