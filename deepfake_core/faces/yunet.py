"""Faces by YuNet, run by onnxruntime: fast on a CPU, five landmarks; the production default.

W. Wu, H. Peng, S. Yu: YuNet: a tiny millisecond-level face detector, 2023. The boxes are those of OpenCV's
FaceDetectorYN, whose padding, decoding and suppression are repeated here; its network runs at half the cost.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
from google.protobuf.message import DecodeError

from deepfake_core.errors import WeightsError
from deepfake_core.faces.box import Box, usable
from deepfake_core.faces.onnx_weights import REFUSALS, open_on_cpu
from deepfake_core.faces.video import Image, shrunk
from deepfake_core.specs import DetectorSpec

STRIDES = (8, 16, 32)
"""Pixels between the cells of the three grids on which faces are looked for; the input is a multiple of the last."""
OVERLAP_OF_TWINS = 0.3
"""Boxes of one frame that overlap more are one face (non-maximum suppression)."""
MOST_CANDIDATES = 5000

_OUTPUTS = [f"{kind}_{stride}" for stride in STRIDES for kind in ("cls", "obj", "bbox", "kps")]

Rows = np.ndarray[Any, np.dtype[np.float32]]


class YuNetDetector:
    """YuNet on the frame shrunk to ``spec.input_side``, in one thread: the network is too small for more."""

    batch = 1  # a CPU gains nothing from larger ones

    def __init__(self, spec: DetectorSpec, *, weights: Path) -> None:
        try:
            self._session = _open_session(weights)
        except (DecodeError, IndexError, ValueError, *REFUSALS) as error:
            message = f"{weights} is no YuNet model that onnxruntime can load ({error})."
            raise WeightsError(message) from error
        self._input = self._session.get_inputs()[0].name
        self._spec = spec

    def detect(self, frames: Sequence[Image]) -> list[list[Box]]:
        """Find the faces of each frame, with five landmarks each."""
        return [self._detect_one(frame) for frame in frames]

    def _detect_one(self, frame: Image) -> list[Box]:
        height, width = frame.shape[:2]
        image = shrunk(frame, self._spec.input_side)
        rows = self._without_twins(self._candidates(image))
        across, down = width / image.shape[1], height / image.shape[0]
        return usable(
            [_box(row).scaled(across, down) for row in rows.tolist()],
            width=width,
            height=height,
            min_confidence=self._spec.min_confidence,
            min_side=self._spec.min_face * height,
        )

    def _candidates(self, image: Image) -> Rows:
        """Return what the three grids see, (n, 15): x, y, width, height, ten landmark coordinates, score."""
        padded = _padded(image)
        outputs = iter(self._session.run(_OUTPUTS, {self._input: cv2.dnn.blobFromImage(padded)}))
        parts = []
        for stride in STRIDES:
            classes, objects, boxes, points = (next(outputs)[0] for _ in range(4))
            scores = np.sqrt(np.clip(classes[:, 0], 0, 1) * np.clip(objects[:, 0], 0, 1))
            cells = np.flatnonzero(scores >= self._spec.min_confidence)
            at = np.stack([cells % (padded.shape[1] // stride), cells // (padded.shape[1] // stride)], axis=1)
            sizes = np.exp(boxes[cells, 2:]) * stride
            corners = (at + boxes[cells, :2]) * stride - sizes / 2
            landmarks = (points[cells].reshape(-1, 5, 2) + at[:, None]) * stride
            parts.append(np.hstack([corners, sizes, landmarks.reshape(-1, 10), scores[cells, None]]))
        return np.vstack(parts).astype(np.float32)

    def _without_twins(self, rows: Rows) -> Rows:
        """Keep the surest of the rows that overlap; whole pixels decide, as in OpenCV's detector."""
        kept = cv2.dnn.NMSBoxes(
            rows[:, :4].astype(int).tolist(),
            rows[:, 14].tolist(),
            self._spec.min_confidence,
            OVERLAP_OF_TWINS,
            top_k=MOST_CANDIDATES,
        )
        surest: Rows = rows[np.asarray(kept, dtype=int).ravel()]
        return surest


def _open_session(weights: Path) -> onnxruntime.InferenceSession:
    """Load the model for images of any size; the official file says 640 × 640, and its graph does not need that.

    Raises:
        ValueError: it is another network.
    """
    model = onnx.load(weights)
    found = {output.name for output in model.graph.output}
    if not found.issuperset(_OUTPUTS):
        message = f"expected the outputs {', '.join(_OUTPUTS)}, found {', '.join(sorted(found)) or 'none'}"
        raise ValueError(message)
    for axis, name in ((2, "height"), (3, "width")):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = name
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    return open_on_cpu(model.SerializeToString(), threads=1)


def _padded(image: Image) -> Image:
    """Add black pixels at the right and at the bottom, up to whole cells of the coarsest grid."""
    height, width = image.shape[:2]
    padded: Image = cv2.copyMakeBorder(
        image, 0, -height % STRIDES[-1], 0, -width % STRIDES[-1], borderType=cv2.BORDER_CONSTANT
    )
    return padded


def _box(row: Sequence[float]) -> Box:
    x, y, width, height = row[:4]
    return Box(x, y, x + width, y + height, row[14], tuple(row[4:14]))
