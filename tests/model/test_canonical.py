"""Equal models give equal bytes, whatever tf2onnx called their tensors."""

import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from deepfake_core.config import TrainConfig
from deepfake_core.contract import graph_sha256
from deepfake_core.model.canonical import canonical, name_batch_axis
from deepfake_core.model.onnx_graph import convert_to_onnx
from deepfake_core.model.xception import build_model

EXPORT = """
import sys
from deepfake_core.config import TrainConfig
from deepfake_core.contract import graph_sha256
from deepfake_core.model.onnx_graph import convert_to_onnx
from deepfake_core.model.xception import build_model
print("DIGEST", graph_sha256(convert_to_onnx(build_model(TrainConfig.model_validate_json(sys.argv[1]), size=32))))
"""


def small_graph(*, names: dict[str, str], swap: bool = False, dead: bool = False) -> onnx.ModelProto:
    """Return (x + a) * b → y and relu of it → z, with its tensors and attributes called and ordered as told."""
    a, b, inner = (names.get(name, name) for name in ("a", "b", "inner"))
    nodes = [
        helper.make_node("Add", ["x", a], [inner], name="n1"),
        helper.make_node("Mul", [inner, b], ["y"], name="n2"),
        helper.make_node("LeakyRelu", ["y"], ["z"], name=names.get("node", "n3"), alpha=0.1),
    ]
    if dead:
        nodes.insert(0, helper.make_node("Neg", ["x"], ["unused"]))
    weights = [
        numpy_helper.from_array(np.float32([1.5]), a),
        helper.make_tensor(b, TensorProto.FLOAT, [1], [2.0]),
    ]
    shape = ["unk__12", 1]
    graph = helper.make_graph(
        nodes,
        names.get("graph", "g"),
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("y", "z")],
        initializer=weights[::-1] if swap else weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 2)])


def test_names_and_order_make_no_difference():
    one = small_graph(names={})
    other = small_graph(names={"a": "c__7", "b": "c__3", "inner": "t", "node": "q", "graph": "h"}, swap=True, dead=True)

    assert canonical(one, name="m").SerializeToString() == canonical(other, name="m").SerializeToString()


def test_another_weight_makes_another_file():
    one, other = small_graph(names={}), small_graph(names={})
    other.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.float32([1.25]), "a"))

    assert canonical(one, name="m").SerializeToString() != canonical(other, name="m").SerializeToString()


def test_it_still_computes_the_same_and_runs_in_onnxruntime():
    model = canonical(small_graph(names={}, dead=True), name="m")
    name_batch_axis(model, "batch")
    onnx.checker.check_model(model, full_check=True)

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    y, z = session.run(["y", "z"], {"x": np.float32([[1.0], [-4.0]])})

    np.testing.assert_allclose(y, [[5.0], [-5.0]])
    np.testing.assert_allclose(z, [[5.0], [-0.5]], rtol=1e-6)
    assert model.ir_version <= 10
    assert [opset.domain for opset in model.opset_import] == [""]
    assert session.get_inputs()[0].shape == ["batch", 1]


def test_a_graph_inside_a_node_is_refused():
    inner = helper.make_graph([], "inner", [], [])
    model = small_graph(names={})
    model.graph.node[2].attribute.append(helper.make_attribute("then_branch", inner))

    with pytest.raises(ValueError, match="flat graphs"):
        canonical(model, name="m")


def test_two_processes_export_the_same_bytes():
    config = TrainConfig(width=0.125, middle_blocks=1, seed=4)
    command = [sys.executable, "-c", EXPORT, config.model_dump_json()]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    # A process that has converted something before counts its tensors from elsewhere.
    convert_to_onnx(build_model(config, size=48))

    here = graph_sha256(convert_to_onnx(build_model(config, size=32)))

    assert done.stdout.rsplit("DIGEST ", 1)[1].strip() == here
