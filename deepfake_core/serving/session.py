"""The exported model, ready to score: an ONNX file and its contract → a logit a face crop.

Evaluation and scoring run the model through this one class. A file whose graph is not the one its contract was
written for is refused, and a device that onnxruntime would quietly exchange for another one is refused too.
"""

import contextlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as states

from deepfake_core import files
from deepfake_core.contract import ModelContract, read_contract
from deepfake_core.errors import ContractError, DeviceError
from deepfake_core.faces.crop import decode_jpegs
from deepfake_core.faces.onnx_weights import CPU, CUDA, REFUSALS

Device = Literal["cpu", "cuda"]

# TF32 keeps 10 bits of a float's mantissa: with it a verdict near the threshold would depend on the device.
# Heuristic search of convolution algorithms does not time them anew at every start and for every last batch.
_CUDA_OPTIONS = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
_FATAL_ONLY = 4
_REFUSALS = (*REFUSALS, states.EPFail)
_LEVELS = 255.0


class Scorer:
    """A model on a device.

    Attributes:
        contract: what the model says of itself.
        onnx_sha256: digest of the ONNX file.
    """

    def __init__(
        self, session: onnxruntime.InferenceSession, *, contract: ModelContract, onnx_sha256: str, batch: int
    ) -> None:
        self.contract = contract
        self.onnx_sha256 = onnx_sha256
        self._session = session
        self._batch = batch

    @classmethod
    def open(cls, path: Path, *, device: Device = "cpu", batch: int = 8, threads: int | None = None) -> Self:
        """Open an exported model.

        Args:
            path: the ONNX file.
            device: ``cpu`` or ``cuda``.
            batch: crops a run of the model; a CPU gains nothing beyond 8.
            threads: of the CPU; None: one a core.

        Raises:
            ContractError: the file is no model of this platform, was altered, or is not what its contract says.
            DeviceError: onnxruntime would not run it on ``device``.
        """
        contract = read_contract(path)
        session = _open_session(path, device=device, threads=threads)
        _refuse_other_interface(path, session, contract)
        return cls(session, contract=contract, onnx_sha256=files.sha256_of_file(path), batch=batch)

    def logits(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Score face crops.

        Args:
            crops: uint8 (n, size, size, 3), RGB, of the size the contract names; n may be zero.

        Returns:
            float32 (n,): the logit of *manipulated*, one a crop.

        Raises:
            ContractError: crops of another shape or type, or a model that answers with something else than numbers.
            DeviceError: the device gave up, for want of memory for instance.
        """
        size = self.contract.face.size
        if crops.dtype != np.uint8 or crops.shape[1:] != (size, size, 3):
            message = (
                f"the model takes crops of uint8 (n, {size}, {size}, 3). Received: {crops.dtype} {crops.shape}. "
                "Crop with the contract's FaceSpec; there is no second resize."
            )
            raise ContractError(message)
        parts = [self._run(crops[start : start + self._batch]) for start in range(0, len(crops), self._batch)]
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.float32)

    def logits_of_jpegs(self, jpegs: Sequence[bytes]) -> npt.NDArray[np.float32]:
        """Score face crops as the extraction stored them, decoding a batch at a time; see ``logits``."""
        parts = [self.logits(decode_jpegs(part)) for part in _batches(jpegs, self._batch)]
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.float32)

    def _run(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        contract = self.contract
        try:
            (output,) = self._session.run(
                [contract.logit_output], {contract.input_name: model_input(crops, contract.input_range)}
            )
        except _REFUSALS as error:
            message = f"the model failed on {len(crops)} crops: {error}. A smaller batch needs less memory."
            raise DeviceError(message) from None
        logits = np.asarray(output, dtype=np.float32).reshape(-1)
        # NaN is neither above nor below a threshold: unnoticed, it would pass for an original.
        if logits.shape != (len(crops),) or not np.isfinite(logits).all():
            message = f"the model answered {len(crops)} crops with {output.shape} logits, not all of them finite."
            raise ContractError(message)
        return logits


def model_input(crops: npt.NDArray[np.uint8], input_range: tuple[float, float]) -> npt.NDArray[np.float32]:
    """Return uint8 crops as the float32 tensor that enters the model: levels 0–255 mapped to ``input_range``."""
    low, high = input_range
    levels = crops.astype(np.float32)
    if (low, high) == (0.0, _LEVELS):
        return levels
    return levels * np.float32((high - low) / _LEVELS) + np.float32(low)


def _open_session(path: Path, *, device: Device, threads: int | None) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = threads or 0
    # Waiting threads must not burn the cores that the decoding workers need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    with _onnxruntime_quiet(device) as remarks:
        providers: list[Any] = [(CUDA, _CUDA_OPTIONS), CPU] if device == "cuda" else [CPU]
        if device == "cuda" and CUDA in onnxruntime.get_available_providers():
            onnxruntime.preload_dlls()
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=providers, enable_fallback=0)
        except _REFUSALS as error:
            if device == "cuda":
                raise _no_cuda(str(error)) from None
            message = f"onnxruntime {onnxruntime.__version__} refuses {path}: {error}"
            raise ContractError(message) from None
    if device == "cuda" and session.get_providers()[0] != CUDA:
        raise _no_cuda(remarks.getvalue().strip().splitlines()[0] if remarks.getvalue().strip() else "")
    return session


def _no_cuda(remark: str) -> DeviceError:
    return DeviceError(
        f"CUDA was asked for, but onnxruntime {onnxruntime.__version__} would run the model on the CPU "
        f"(this build offers: {', '.join(onnxruntime.get_available_providers())}"
        f"{'; it said: ' + remark if remark else ''}). It needs an NVIDIA driver (does nvidia-smi list the GPU?) and "
        "the libraries of CUDA 12 and cuDNN 9: pip install 'onnxruntime-gpu[cuda,cudnn]'. Or ask for --device cpu."
    )


@contextlib.contextmanager
def _onnxruntime_quiet(device: Device) -> Iterator[io.StringIO]:
    """Catch what onnxruntime prints while it looks for CUDA: our error says it better, and stdout is for results."""
    if device == "cpu":
        yield io.StringIO()
        return
    onnxruntime.set_default_logger_severity(_FATAL_ONLY)
    try:
        with contextlib.redirect_stdout(io.StringIO()) as remarks:
            yield remarks
    finally:
        onnxruntime.set_default_logger_severity(2)  # onnxruntime's own default: warnings


def _refuse_other_interface(path: Path, session: onnxruntime.InferenceSession, contract: ModelContract) -> None:
    size = contract.face.size
    inputs = {node.name: (node.type, list(node.shape[1:])) for node in session.get_inputs()}
    wanted = {contract.input_name: ("tensor(float)", [size, size, 3])}
    outputs = [node.name for node in session.get_outputs()]
    if inputs != wanted or contract.logit_output not in outputs:
        message = (
            f"{path} is not what its contract says: expected the input {wanted} and the output "
            f"{contract.logit_output!r}, found {inputs} and {outputs}. Export the model again."
        )
        raise ContractError(message)


def _batches(items: Sequence[bytes], size: int) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
