"""FaceDetector: the one interface behind which faces are found, and the place where a DetectorSpec becomes one."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from deepfake_core.errors import ConfigError, WeightsError
from deepfake_core.faces.box import Box
from deepfake_core.faces.haar import HaarDetector
from deepfake_core.faces.video import Image
from deepfake_core.specs import DetectorSpec, FaceSpec

__all__ = ["Box", "FaceDetector", "build_detector", "detection_side"]


class FaceDetector(Protocol):
    """Finds faces.

    Attributes:
        batch: frames a call that suit it; 1 where a batch brings nothing.
    """

    batch: int

    def detect(self, frames: Sequence[Image]) -> list[list[Box]]:
        """Find the faces of each frame.

        Args:
            frames: (height, width, 3) uint8 BGR each.

        Returns:
            The boxes of each frame, in pixels of that frame, in no particular order.
        """


def build_detector(
    spec: DetectorSpec,
    *,
    weights: Path | None,
    device: str | None = None,
    batch: int = 8,
    threads: int | None = None,
) -> FaceDetector:
    """Load the detector that ``spec`` describes.

    Args:
        spec: which detector, and its thresholds.
        weights: its verified weights file, see ``weights.resolve_weights``; None for ``haar``.
        device: ``cpu``, ``cuda`` or None (``yolo``: the GPU when there is one).
        batch: frames a call, where a batch pays (``yolo``).
        threads: of ``yolo`` on the CPU; None: one a core. ``yunet`` takes one, ``haar`` OpenCV's setting (in
            workers one).

    Raises:
        WeightsError: weights are needed and not given.
        ConfigError: ``yolo`` is asked for and Ultralytics is not installed.
        DeviceError: CUDA is asked for and there is none.
    """
    if spec.name == "haar":
        return HaarDetector(spec)
    if weights is None:
        message = f"the detector '{spec.name}' needs its weights (sha256 {spec.weights_sha256}). Received: None."
        raise WeightsError(message)
    if spec.name == "yunet":
        # Imported here: onnx and onnxruntime take half a second, which `haar` should not pay.
        yunet: FaceDetector = importlib.import_module("deepfake_core.faces.yunet").YuNetDetector(spec, weights=weights)
        return yunet
    yolo: FaceDetector = _yolo_module().YoloDetector(spec, weights=weights, device=device, batch=batch, threads=threads)
    return yolo


def detection_side(spec: DetectorSpec, face: FaceSpec) -> int:
    """Return the longest side of the images that the detector is shown; zero: the frames as they are.

    ``yolo`` shrinks frames in its own way, and the notebook's boxes depend on it; it gets smaller images only where
    ``convert: planes`` gives up bit-identity for speed anyway.
    """
    return 0 if spec.name == "yolo" and face.convert == "frame" else spec.input_side


def _yolo_module() -> Any:
    try:
        return importlib.import_module("deepfake_core.faces.yolo")
    except ModuleNotFoundError as error:
        message = (
            f"the detector 'yolo' needs Ultralytics and PyTorch (missing: {error.name}). "
            "Install them: pip install 'deepfake-platform[yolo]'"
        )
        raise ConfigError(message) from error
