"""Faces, or any other class, by Ultralytics YOLO weights: batched, on a GPU when there is one.

With COCO weights and class 0 it finds *persons*, as the notebook did. Detection and pose weights (``.pt``) and their
ONNX exports work; five key points become landmarks. A ``.pt`` file is a pickle and can run code when it is opened:
hand over only files whose SHA-256 was verified (``weights.resolve_weights``).
"""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from ultralytics import YOLO
from ultralytics.utils import LOGGER

from deepfake_core.errors import DeviceError, WeightsError
from deepfake_core.faces.box import Box, usable
from deepfake_core.faces.onnx_weights import CUDA, REFUSALS, open_on_cpu
from deepfake_core.faces.video import Image
from deepfake_core.specs import DetectorSpec

_LOG = logging.getLogger(__name__)

DEFAULT_SIDE = 640
"""What Ultralytics itself takes when nobody says otherwise."""
CPU_BATCH = 4
"""Larger batches fall out of a CPU's cache: eight frames of 640 pixels cost 15 % more a frame than four."""
STRIDE = 32
LANDMARKS = 5
_REFUSALS = (
    RuntimeError,
    TypeError,
    ValueError,
    AttributeError,
    EOFError,
    KeyError,
    ModuleNotFoundError,  # a pickle of classes that are not installed
    *REFUSALS,
)


class YoloDetector:
    """A YOLO model in rectangular input: frames are shrunk to ``input_side`` and padded to the next multiple of 32."""

    def __init__(
        self, spec: DetectorSpec, *, weights: Path, device: str | None, batch: int, threads: int | None
    ) -> None:
        if device == "cuda" and not torch.cuda.is_available():
            message = "detector.device is 'cuda', but PyTorch finds no CUDA device. Use 'cpu', or null for either."
            raise DeviceError(message)
        self._spec = spec
        self._device = ("cuda" if torch.cuda.is_available() else "cpu") if device is None else device
        self._threads = threads or os.cpu_count() or 1
        self._side = -(-(spec.input_side or DEFAULT_SIDE) // STRIDE) * STRIDE
        try:
            self._load(weights, device)
        except _REFUSALS as error:
            message = f"{weights} is no model that Ultralytics can load ({error})."
            raise WeightsError(message) from error
        self.batch = batch if self._device == "cuda" else min(batch, CPU_BATCH)
        self._check_class(weights)

    def detect(self, frames: Sequence[Image]) -> list[list[Box]]:
        """Find the boxes of the class in each frame; frames of one call have one size."""
        if not frames:
            return []
        self._set_threads()
        results = self._model.predict(
            list(frames),
            imgsz=self._side,
            conf=self._spec.min_confidence,
            classes=[self._spec.class_id],
            batch=len(frames),
            device=self._device,
            verbose=False,
        )
        return [self._boxes(result) for result in results]

    def _load(self, weights: Path, asked: str | None) -> None:
        """Load the weights and look once, since Ultralytics opens ONNX weights no sooner."""
        LOGGER.setLevel(logging.ERROR)  # its remarks go to stdout, which is for results
        self._model = YOLO(str(weights), verbose=False)
        self._look_once()
        if weights.suffix.lower() != ".onnx":
            return
        if self._device == "cuda" and CUDA not in self._backend().session.get_providers():
            if asked == "cuda":
                message = (
                    f"detector.device is 'cuda', but onnxruntime would run {weights.name} on the CPU (this build "
                    f"offers: {', '.join(onnxruntime.get_available_providers())}). Install onnxruntime-gpu[cuda,cudnn] "
                    "instead of onnxruntime, or use 'cpu', or null for either."
                )
                raise DeviceError(message)
            self._device = "cpu"
            self._look_once()
        if self._device == "cpu":
            # Ultralytics' own session starts a thread for every core, in every worker.
            self._backend().session = open_on_cpu(str(weights), threads=self._threads)

    def _look_once(self) -> None:
        self.detect([np.zeros((STRIDE, STRIDE, 3), np.uint8)])

    def _backend(self) -> Any:
        """Return the part of Ultralytics that holds onnxruntime's session."""
        return self._model.predictor.model.backend

    def _set_threads(self) -> None:
        """Set PyTorch's threads: Ultralytics makes them one fewer than cores whenever it picks a device."""
        if self._device == "cpu" and torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)

    def _check_class(self, weights: Path) -> None:
        names = self._model.names
        name = names.get(self._spec.class_id)
        if name is None:
            known = ", ".join(f"{number} {name}" for number, name in list(names.items())[:5])
            message = f"{weights.name} has no class {self._spec.class_id}. It knows {len(names)}: {known}, …"
            raise WeightsError(message)
        if "face" not in name.lower():
            _LOG.warning(
                "class %d of %s is %r: the crops will show that, not faces", self._spec.class_id, weights.name, name
            )

    def _boxes(self, result: Any) -> list[Box]:
        height, width = result.orig_shape
        corners = result.boxes.xyxy.cpu().numpy().tolist()
        confidences = result.boxes.conf.cpu().numpy().tolist()
        points = _landmarks(result, len(corners))
        boxes = [
            Box(x1, y1, x2, y2, sure, five)
            for (x1, y1, x2, y2), sure, five in zip(corners, confidences, points, strict=True)
        ]
        return usable(
            boxes,
            width=width,
            height=height,
            min_confidence=self._spec.min_confidence,
            min_side=self._spec.min_face * height,
        )


def _landmarks(result: Any, count: int) -> list[tuple[float, ...] | None]:
    points = None if result.keypoints is None else result.keypoints.xy
    if points is None or tuple(points.shape[1:]) != (LANDMARKS, 2):
        return [None] * count
    return [tuple(five.flatten().tolist()) for five in points.cpu().numpy()]
