"""Faces by YuNet, through OpenCV's FaceDetectorYN: fast on a CPU, five landmarks; the production default.

W. Wu, H. Peng, S. Yu: YuNet: a tiny millisecond-level face detector, 2023.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from deepfake_core.errors import WeightsError
from deepfake_core.faces.box import Box, usable
from deepfake_core.faces.video import Image, shrunk
from deepfake_core.specs import DetectorSpec

OVERLAP_OF_TWINS = 0.3
"""Boxes of one frame that overlap more are one face (non-maximum suppression)."""
MOST_CANDIDATES = 5000


class YuNetDetector:
    """FaceDetectorYN on the frame shrunk to ``spec.input_side``."""

    batch = 1  # OpenCV's detector takes one image a call

    def __init__(self, spec: DetectorSpec, *, weights: Path) -> None:
        try:
            self._net = cv2.FaceDetectorYN.create(
                str(weights), "", (320, 320), spec.min_confidence, OVERLAP_OF_TWINS, MOST_CANDIDATES
            )
        except cv2.error as error:
            message = f"{weights} is no YuNet model that OpenCV can load ({error.err})."
            raise WeightsError(message) from error
        self._spec = spec

    def detect(self, frames: Sequence[Image]) -> list[list[Box]]:
        """Find the faces of each frame, with five landmarks each."""
        return [self._detect_one(frame) for frame in frames]

    def _detect_one(self, frame: Image) -> list[Box]:
        height, width = frame.shape[:2]
        image = shrunk(frame, self._spec.input_side)
        self._net.setInputSize((image.shape[1], image.shape[0]))
        found = self._net.detect(image)[1]
        rows = np.empty((0, 15), np.float32) if found is None else found
        across, down = width / image.shape[1], height / image.shape[0]
        return usable(
            [_box(row).scaled(across, down) for row in rows.tolist()],
            width=width,
            height=height,
            min_confidence=self._spec.min_confidence,
            min_side=self._spec.min_face * height,
        )


def _box(row: Sequence[float]) -> Box:
    """Turn a row of the detector - x, y, width, height, ten landmark coordinates, score - into a box."""
    x, y, width, height = row[:4]
    return Box(x, y, x + width, y + height, row[14], tuple(row[4:14]))
