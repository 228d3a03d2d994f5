"""Which device a training runs on: the one that was asked for, or an error."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import tensorflow as tf

from deepfake_core.errors import DeviceError


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


def _share_memory(gpus: list[tf.config.PhysicalDevice]) -> None:
    """Take GPU memory as it is needed: export and scoring want some, in the same process."""
    try:
        for gpu in gpus:
            tf.config.experimental.set_memory_growth(gpu, True)
    except RuntimeError:
        return  # TensorFlow already runs on them; what it took, it keeps
