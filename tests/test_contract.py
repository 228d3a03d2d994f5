"""The contract inside the ONNX file: it travels with the graph and with no other."""

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper
from onnx.external_data_helper import set_external_data

from deepfake_core.contract import METADATA_KEY, ModelContract, Threshold, embed, graph_sha256, read_contract
from deepfake_core.errors import ContractError
from deepfake_core.specs import DetectorSpec, FaceSpec


def model_scaling_by(factor: float) -> onnx.ModelProto:
    """Return a graph of one multiplication."""
    shape = ["batch", 1]
    graph = helper.make_graph(
        [helper.make_node("Mul", ["images", "factor"], ["logit"])],
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logit", TensorProto.FLOAT, shape)],
        [helper.make_tensor("factor", TensorProto.FLOAT, [1], [factor])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def contract_for(model: onnx.ModelProto) -> ModelContract:
    return ModelContract(
        name="tiny",
        face=FaceSpec(size=64),
        detector=DetectorSpec(name="haar"),
        frame_step=4,
        aggregation="mean_logit",
        frame_threshold=Threshold(value=0.5, chosen_by="fixed"),
        video_threshold=Threshold(value=0.4, chosen_by="youden"),
        training_groups=("000",),
        test_groups=("002",),
        dataset_digest="0" * 64,
        graph_sha256=graph_sha256(model),
    )


def test_a_contract_comes_back_as_it_was_embedded(tmp_path: Path):
    model = model_scaling_by(2.0)
    contract = contract_for(model)
    embed(model, contract)
    onnx.save(model, str(tmp_path / "model.onnx"))

    assert read_contract(tmp_path / "model.onnx") == contract


def test_an_exchanged_graph_is_refused(tmp_path: Path):
    model, other = model_scaling_by(2.0), model_scaling_by(3.0)
    embed(model, contract_for(model))
    other.metadata_props.extend(model.metadata_props)
    onnx.save(other, str(tmp_path / "model.onnx"))

    with pytest.raises(ContractError, match="was altered"):
        read_contract(tmp_path / "model.onnx")


def test_a_contract_is_not_embedded_into_another_graph():
    with pytest.raises(ContractError, match="belongs to graph"):
        embed(model_scaling_by(3.0), contract_for(model_scaling_by(2.0)))


def test_a_model_without_a_contract_is_refused(tmp_path: Path):
    onnx.save(model_scaling_by(2.0), str(tmp_path / "model.onnx"))

    with pytest.raises(ContractError, match="was not made by 'deepfake export'"):
        read_contract(tmp_path / "model.onnx")


def test_a_contract_of_another_version_is_refused(tmp_path: Path):
    model = model_scaling_by(2.0)
    later = contract_for(model).model_copy(update={"version": 99})
    helper.set_model_props(model, {METADATA_KEY: later.model_dump_json()})
    onnx.save(model, str(tmp_path / "model.onnx"))

    with pytest.raises(ContractError, match="version 99"):
        read_contract(tmp_path / "model.onnx")


@pytest.mark.parametrize("content", [b"", b"not a model at all", None])
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, content: bytes | None):
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(ContractError):
        read_contract(path)


@pytest.mark.parametrize("nested", [False, True], ids=["initializer", "subgraph"])
def test_weights_outside_the_file_are_refused_because_the_digest_does_not_cover_them(tmp_path: Path, nested: bool):
    model = model_scaling_by(2.0)
    (factor,) = model.graph.initializer
    if nested:
        inner = helper.make_graph([], "inner", [], [], [factor])
        model.graph.node.append(helper.make_node("If", ["logit"], [], then_branch=inner, else_branch=inner))
        factor = model.graph.node[-1].attribute[0].g.initializer[0]
    factor.ClearField("float_data")
    factor.raw_data = b"\0\0\0\0"
    set_external_data(factor, location="weights.bin")
    embed(model, contract_for(model))
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())

    with pytest.raises(ContractError, match=r"weights outside, in weights\.bin"):
        read_contract(tmp_path / "model.onnx")


def test_people_are_known_whatever_their_group_was_called():
    contract = contract_for(model_scaling_by(2.0)).model_copy(update={"training_people": ("ffpp/000", "ffpp/003")})

    assert contract.was_trained_on(["ffpp/606", "ffpp/003"])
    assert contract.was_trained_on(["000"])
    assert not contract.was_trained_on(["002", "ffpp/002"])
