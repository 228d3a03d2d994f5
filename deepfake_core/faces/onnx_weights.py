"""Open ONNX weights of detectors in onnxruntime, on the CPU, in as many threads as were asked for."""

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as states

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
REFUSALS = (
    states.Fail,
    states.InvalidArgument,
    states.InvalidGraph,
    states.InvalidProtobuf,
    states.NotImplemented,
    states.RuntimeException,
)
"""What onnxruntime raises about a file that is no model, or none that it can run."""
_ERRORS_ONLY = 3


def open_on_cpu(model: bytes | str, *, threads: int) -> onnxruntime.InferenceSession:
    """Load a model, its bytes or its path, for the CPU.

    Raises:
        Exception: one of ``REFUSALS``.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Waiting threads must not burn the cores that the decoding workers need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = _ERRORS_ONLY
    return onnxruntime.InferenceSession(model, options, providers=[CPU])
