"""An exported model says the same as the trained one, and carries what a scorer must know."""

import shutil

import keras
import mlflow
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from deepfake_core import files
from deepfake_core.config import ExportConfig
from deepfake_core.contract import read_contract
from deepfake_core.data.reader import load_faces
from deepfake_core.errors import ParityError, WorkspaceError
from deepfake_core.model import export
from deepfake_core.model.export import export_model
from deepfake_core.model.onnx_graph import OnnxLogits, convert_to_onnx
from deepfake_core.model.training_record import read_training_record
from deepfake_core.workspace import Workspace


@pytest.fixture(scope="module")
def exported_once(trained_once, track, tmp_path_factory):
    workspace = Workspace(tmp_path_factory.mktemp("exported") / "workspace")
    shutil.copytree(trained_once.root, workspace.root)
    export_model(workspace, config=ExportConfig(), tracking=track(workspace))
    return workspace


@pytest.fixture
def one_export(exported_once, tmp_path):
    """Return a workspace in which the model was exported."""
    shutil.copytree(exported_once.root, tmp_path / "exported")
    return Workspace.existing(tmp_path / "exported")


def test_the_contract_tells_scoring_what_training_knew(one_export, track):
    contract = read_contract(one_export.onnx_model)
    record = read_training_record(one_export)

    assert contract.name == "xception"
    assert contract.face.size == 32
    assert contract.detector.name == "haar"
    assert contract.frame_step == 4
    assert contract.aggregation == "mean_logit"
    assert contract.frame_threshold.chosen_by == "Youden index on 16 validation faces"
    assert contract.video_threshold.chosen_by == "Youden index on 4 validation videos"
    assert (contract.training_groups, contract.test_groups) == (("000", "002", "004", "006"), ("008",))
    assert contract.training_people == tuple(f"ffpp/{number:03d}" for number in range(8))
    assert contract.dataset_digest == record.dataset_digest
    assert contract.mlflow_run_id == record.run_id
    best = record.history[record.best_epoch - 1]
    assert contract.validation_metrics["frame_auc"] == pytest.approx(best.val_auc, abs=0.02)
    assert contract.validation_metrics["videos"] == 4
    parity = files.read_json(one_export.parity_report)
    assert parity["crops"] - parity["blended"] == 64
    assert parity["max_logit_difference"] < 1e-4
    run = mlflow.MlflowClient(track(one_export).uri).get_run(record.run_id)
    assert run.data.metrics["video_threshold"] == contract.video_threshold.value
    assert run.info.status == "FINISHED"


def test_the_file_takes_any_number_of_crops_and_gives_logit_and_probability(one_export):
    model = onnx.load(one_export.onnx_model)
    faces = load_faces(one_export, "test").images

    logits, probabilities = OnnxLogits(model).run(faces[:11])

    assert logits.shape == probabilities.shape == (11,)
    np.testing.assert_allclose(probabilities, 1 / (1 + np.exp(-logits)), atol=1e-6)
    (image,) = model.graph.input
    assert [dim.dim_param or dim.dim_value for dim in image.type.tensor_type.shape.dim] == ["batch", 32, 32, 3]
    assert [output.name for output in model.graph.output] == ["logit", "probability"]
    assert model.ir_version <= 10
    assert model.opset_import[0].version == 17


def test_the_same_training_gives_the_same_file_and_a_finished_export_is_found(one_export, track):
    first = one_export.onnx_model.read_bytes()
    assert export_model(one_export, config=ExportConfig(), tracking=track(one_export)).outcome == "found"
    one_export.onnx_model.unlink()

    report = export_model(one_export, config=ExportConfig(), tracking=track(one_export))

    assert report.notes[0] == "made again: its output models/model.onnx is gone"
    assert one_export.onnx_model.read_bytes() == first


def test_converting_leaves_nothing_on_the_terminal(trained, capfd):
    model = keras.models.load_model(trained.keras_model, compile=False)
    capfd.readouterr()

    convert_to_onnx(model)

    assert capfd.readouterr() == ("", "")


def test_fixed_thresholds_and_votes_as_in_the_notebook(trained, track):
    config = ExportConfig(aggregation="vote", threshold=0.5, frame_step=1, min_faces=2)

    export_model(trained, config=config, tracking=track(trained))

    contract = read_contract(trained.onnx_model)
    assert contract.frame_threshold.value == contract.video_threshold.value == 0.5
    assert contract.video_threshold.chosen_by == "fixed by the configuration"
    assert (contract.aggregation, contract.frame_step, contract.min_faces) == ("vote", 1, 2)


def test_a_graph_that_computes_something_else_is_never_written(trained, track, monkeypatch):
    def damaged(model):
        graph = convert_to_onnx(model)
        weight = max(graph.graph.initializer, key=lambda tensor: np.prod(tensor.dims))
        weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * 1.5, weight.name))
        return graph

    monkeypatch.setattr(export, "convert_to_onnx", damaged)

    with pytest.raises(ParityError, match="is not the trained one"):
        export_model(trained, config=ExportConfig(), tracking=track(trained))

    assert not trained.onnx_model.exists()


def test_a_model_that_its_record_does_not_know_is_refused(trained):
    trained.keras_model.write_bytes(trained.keras_model.read_bytes() + b" ")

    with pytest.raises(WorkspaceError, match="is not the model that"):
        read_training_record(trained)
