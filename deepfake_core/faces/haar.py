"""Faces by OpenCV's Haar cascade: ships inside opencv-python, needs no weights; the embedded default.

It finds upright frontal faces only and reports no confidence.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2

from deepfake_core.errors import WeightsError
from deepfake_core.faces.box import Box, usable
from deepfake_core.faces.video import Image, shrunk
from deepfake_core.specs import DetectorSpec

CASCADE = "haarcascade_frontalface_default.xml"
SCALE_STEP = 1.1
MIN_NEIGHBOURS = 3


class HaarDetector:
    """Viola and Jones' cascade on the grey image."""

    batch = 1

    def __init__(self, spec: DetectorSpec) -> None:
        path = Path(cv2.__file__).parent / "data" / CASCADE
        self._cascade = cv2.CascadeClassifier(str(path))
        if self._cascade.empty():
            message = f"{path} is missing or damaged: OpenCV 4 ships it. Install opencv-python again (not version 5)."
            raise WeightsError(message)
        self._spec = spec

    def detect(self, frames: Sequence[Image]) -> list[list[Box]]:
        """Find the faces of each frame; every confidence is 1.0."""
        return [self._detect_one(frame) for frame in frames]

    def _detect_one(self, frame: Image) -> list[Box]:
        height, width = frame.shape[:2]
        image = shrunk(frame, self._spec.input_side)
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        # Searching only for faces of the smallest allowed size and up is three times faster at a share of 0.3.
        side = max(1, round(self._spec.min_face * image.shape[0]))
        found = self._cascade.detectMultiScale(
            grey, scaleFactor=SCALE_STEP, minNeighbors=MIN_NEIGHBOURS, minSize=(side, side)
        )
        across, down = width / image.shape[1], height / image.shape[0]
        boxes = [Box(float(x), float(y), float(x + w), float(y + h)).scaled(across, down) for x, y, w, h in found]
        # The cascade rounds its window: allow one level of its scale below the smallest side.
        smallest = self._spec.min_face * height / SCALE_STEP
        return usable(boxes, width=width, height=height, min_confidence=0.0, min_side=smallest)
