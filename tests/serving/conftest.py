"""A model small enough to build in a millisecond, with a real contract inside."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from deepfake_core import contract as contracts
from deepfake_core.contract import ModelContract, Threshold
from deepfake_core.specs import DetectorSpec, FaceSpec

ModelMaker = Callable[..., Path]


def _graph(size: int, *, gain: float, bias: float) -> Any:
    """Return a model whose logit is ``gain × (mean red − mean blue) + bias``."""
    weights = np.array([[gain], [0.0], [-gain]], dtype=np.float32)
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["means"], axes=[1, 2], keepdims=0),
        helper.make_node("Gemm", ["means", "weights", "bias"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["probability"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", size, size, 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 1]) for name in ("logit", "probability")],
        [
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(np.array([bias], dtype=np.float32), "bias"),
        ],
    )
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 17)])


@pytest.fixture
def write_tiny_model() -> ModelMaker:
    """Return a function that writes a tiny ONNX model with its contract.

    Its logit is ``gain × (mean red − mean blue) + bias``: reddish crops are manipulated, bluish ones original.
    """

    def write(path: Path, *, size: int = 64, gain: float = 0.1, bias: float = 0.0, **contract_values: Any) -> Path:
        model = _graph(size, gain=gain, bias=bias)
        values: dict[str, Any] = {
            "name": "tiny",
            "face": FaceSpec(size=size),
            "detector": DetectorSpec(name="haar", input_side=320, min_confidence=0.0),
            "frame_step": 4,
            "aggregation": "mean_logit",
            "frame_threshold": Threshold(value=0.5, chosen_by="fixed"),
            "video_threshold": Threshold(value=0.5, chosen_by="fixed"),
            "training_groups": ("001", "002"),
            "test_groups": ("003", "004"),
            "dataset_digest": "0" * 64,
            "graph_sha256": contracts.graph_sha256(model),
        }
        contracts.embed(model, ModelContract(**{**values, **contract_values}))
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(model, str(path))
        return path

    return write


@pytest.fixture
def tiny_model(tmp_path: Path, write_tiny_model: ModelMaker) -> Path:
    """Return a tiny ONNX model file: 64 × 64 crops, embedded detector, every 4th frame."""
    return write_tiny_model(tmp_path / "tiny.onnx")
