"""Which device a training runs on - the one that was asked for, or an error - and in which precision."""

import re
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Literal

import tensorflow as tf

from deepfake_core.config import TrainConfig
from deepfake_core.errors import DeviceError

CPU_INFO = Path("/proc/cpuinfo")
_CPU_BFLOAT16 = re.compile(r"^(?:flags|Features)\s*:.*\b(?:avx512_bf16|amx_bf16|bf16)\b", re.MULTILINE)
_GPU_BFLOAT16 = (8, 0)
"""Compute capability from which NVIDIA's GPUs multiply bfloat16."""


def on_device(device: Literal["cpu", "gpu"] | None) -> AbstractContextManager[object]:
    """Return the scope in which a model is built and trained.

    Args:
        device: ``cpu``, ``gpu``, or None for a GPU when there is one.

    Raises:
        DeviceError: a GPU was asked for and TensorFlow sees none.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if device == "gpu" and not gpus:
        message = (
            "train.device is 'gpu', but TensorFlow sees no GPU on this machine. Install the extra 'gpu' "
            "(deepfake-platform[gpu]) beside a working driver, or set train.device to 'cpu'."
        )
        raise DeviceError(message)
    if device != "cpu":
        _share_memory(gpus)
    return nullcontext() if device is None else tf.device(f"/{device.upper()}:0")


def with_fit_precision(config: TrainConfig, *, cpu_info: Path = CPU_INFO) -> TrainConfig:
    """Return the configuration with the precision that ``auto`` means on this machine.

    Args:
        config: ``precision`` and ``device``.
        cpu_info: what Linux says of its processors; where there is no such file, they are taken to have no bfloat16.
    """
    if config.precision != "auto":
        return config
    gpus = [] if config.device == "cpu" else tf.config.list_physical_devices("GPU")
    if gpus:
        details = (tf.config.experimental.get_device_details(gpu) for gpu in gpus)
        native = all(found.get("compute_capability", (0, 0)) >= _GPU_BFLOAT16 for found in details)
    else:
        native = cpu_info.is_file() and _CPU_BFLOAT16.search(cpu_info.read_text(errors="replace")) is not None
    return config.model_copy(update={"precision": "mixed_bfloat16" if native else "float32"})


def _share_memory(gpus: list[tf.config.PhysicalDevice]) -> None:
    """Take GPU memory as it is needed: export and scoring want some, in the same process."""
    try:
        for gpu in gpus:
            tf.config.experimental.set_memory_growth(gpu, True)
    except RuntimeError:
        return  # TensorFlow already runs on them; what it took, it keeps
