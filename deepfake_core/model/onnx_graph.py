"""From a Keras model to an ONNX graph, and back to logits through onnxruntime."""

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import tensorflow as tf
import tf2onnx

from deepfake_core.model.canonical import canonical, name_batch_axis
from deepfake_core.model.native_log import only_native_errors
from deepfake_core.model.xception import INPUT, LOGIT, PROBABILITY

OPSET = 17
BATCH_AXIS = "batch"
_BATCH = 8  # crops; onnxruntime gains nothing beyond on a CPU


def convert_to_onnx(model: keras.Model) -> onnx.ModelProto:
    """Convert a model, with dropout off and batch normalisation folded into the convolutions.

    Args:
        model: from ``build_model`` in float32.

    Returns:
        A graph in canonical form: equal models give equal bytes in every process. Input ``images`` float32
        (batch, size, size, 3); outputs ``logit`` and ``probability`` (batch, 1).
    """
    signature = [tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name=INPUT)]
    # The notebook's export ran with training=True: its scores were random.
    call = tf.function(lambda images: model(images, training=False), autograph=False)
    with only_native_errors():
        converted, _ = tf2onnx.convert.from_function(call, input_signature=signature, opset=OPSET)
    graph = canonical(converted, name=model.name)
    name_batch_axis(graph, BATCH_AXIS)
    onnx.checker.check_model(graph, full_check=True)
    return graph


class OnnxLogits:
    """Turns crops into logits with an ONNX graph, on the CPU."""

    def __init__(self, graph: onnx.ModelProto) -> None:
        self._session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])

    def __call__(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return logits, float32 (crops,), of uint8 RGB crops (crops, size, size, 3)."""
        return self.run(crops)[0]

    def run(self, crops: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return logits and probabilities, each float32 (crops,)."""
        parts = [self._run(crops[start : start + _BATCH]) for start in range(0, len(crops), _BATCH)]
        logits, probabilities = (np.concatenate(values) for values in zip(*parts, strict=True))
        return logits, probabilities

    def _run(self, crops: npt.NDArray[np.uint8]) -> list[npt.NDArray[Any]]:
        outputs = self._session.run([LOGIT, PROBABILITY], {INPUT: crops.astype(np.float32)})
        return [output[:, 0] for output in outputs]
