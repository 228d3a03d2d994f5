"""Keep TensorFlow's native notices from a terminal.

Grappler, which tf2onnx calls, logs through Abseil, and Abseil prints everything to stderr as long as nobody starts its
log. TensorFlow has no call for it, and ``TF_CPP_MIN_LOG_LEVEL`` does not reach it, so Abseil's own setter is called in
the library that TensorFlow has loaded. Its name carries Abseil's version; where that is another, the notices stay.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tensorflow as tf

_SET_MIN_LOG_LEVEL = "_ZN4absl12lts_2025012714SetMinLogLevelENS0_18LogSeverityAtLeastE"
"""``absl::lts_20250127::SetMinLogLevel(absl::LogSeverityAtLeast)``, as in TensorFlow 2.20."""
_INFORMATION, _ERRORS = 0, 2


@contextmanager
def only_native_errors() -> Iterator[None]:
    """Hold back native information and warnings meanwhile."""
    _set_level(_ERRORS)
    try:
        yield
    finally:
        _set_level(_INFORMATION)


def _set_level(level: int) -> None:
    for library in Path(tf.sysconfig.get_lib()).glob("libtensorflow_framework.*"):
        setter = getattr(ctypes.CDLL(str(library)), _SET_MIN_LOG_LEVEL, None)
        if setter is not None:
            setter(ctypes.c_int(level))
