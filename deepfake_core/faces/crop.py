"""From a box to the crop that a model sees, and its JPEG: the one crop path of training and scoring.

The box grows by ``margin`` about its centre. ``square: true`` widens the shorter side first, so that faces keep their
proportions, and repeats the border pixels where the square leaves the frame, so that they keep their scale too.
``square: false`` is the notebook's way: the box is clipped to the frame and stretched.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import cv2
import numpy as np

from deepfake_core.faces.box import Box
from deepfake_core.faces.video import Image
from deepfake_core.specs import FaceSpec

_INTERPOLATIONS = {"area": cv2.INTER_AREA, "linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC}

Rectangle = tuple[int, int, int, int]


class Croppable(Protocol):
    """A frame that gives the pixels of a rectangle: a ``SampledFrame``, or ``WholeImage`` around an array."""

    width: int
    height: int

    def region(self, x1: int, y1: int, x2: int, y2: int) -> Image:
        """Return the pixels of a rectangle inside the frame, uint8 BGR."""


class WholeImage:
    """An image in memory, (height, width, 3) uint8 BGR, as something to crop from."""

    def __init__(self, pixels: Image) -> None:
        self._pixels = pixels
        self.height, self.width = pixels.shape[:2]

    def region(self, x1: int, y1: int, x2: int, y2: int) -> Image:
        """Return the pixels of a rectangle inside the image."""
        return self._pixels[y1:y2, x1:x2]


def crop_face(frame: Croppable, box: Box, *, face: FaceSpec) -> Image:
    """Cut a face out of a frame.

    Args:
        frame: the frame.
        box: the face, in pixels of the frame; some of it lies inside the frame.
        face: size, margin, shape and resampling of the crop.

    Returns:
        (size, size, 3) uint8 BGR.
    """
    x1, y1, x2, y2 = crop_rectangle(box, face=face, width=frame.width, height=frame.height)
    left, top = min(max(x1, 0), frame.width - 1), min(max(y1, 0), frame.height - 1)
    right, bottom = max(min(x2, frame.width), left + 1), max(min(y2, frame.height), top + 1)
    pixels = frame.region(left, top, right, bottom)
    outside = (max(top - y1, 0), max(y2 - bottom, 0), max(left - x1, 0), max(x2 - right, 0))
    if face.square and any(outside):
        pixels = cv2.copyMakeBorder(pixels, *outside, borderType=cv2.BORDER_REPLICATE)
    crop: Image = cv2.resize(pixels, (face.size, face.size), interpolation=_INTERPOLATIONS[face.interpolation])
    return crop


def crop_rectangle(box: Box, *, face: FaceSpec, width: int, height: int) -> Rectangle:
    """Return the rectangle (x1, y1, x2, y2) that is cut out, in whole pixels.

    A square one may leave the frame of ``width`` × ``height`` pixels, a stretched one is clipped to it.
    """
    centre_x, centre_y = box.centre
    if face.square:
        side = max(1, round(max(box.width, box.height) * face.margin))
        left, top = round(centre_x - side / 2), round(centre_y - side / 2)
        return left, top, left + side, top + side
    half_width, half_height = box.width * face.margin / 2, box.height * face.margin / 2
    return (
        max(0, int(centre_x - half_width)),
        max(0, int(centre_y - half_height)),
        min(width, int(centre_x + half_width)),
        min(height, int(centre_y + half_height)),
    )


def sharpness_of(crop: Image) -> float:
    """Return the variance of the Laplacian of the grey crop: near zero for blur, hundreds for detail."""
    grey = cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY)
    _, deviation = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S))
    return float(deviation[0, 0]) ** 2


def encode_jpeg(crop: Image, *, quality: int) -> bytes:
    """Encode a crop, uint8 BGR, as JPEG with OpenCV's settings (the bytes of ``cv2.imwrite``)."""
    done, data = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        message = f"OpenCV cannot encode a crop of shape {crop.shape} and type {crop.dtype} as JPEG"
        raise ValueError(message)
    encoded: bytes = data.tobytes()
    return encoded


def decode_jpegs(jpegs: Sequence[bytes]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Decode crops of one size into a batch.

    The pixels are those of TensorFlow's decoder with ``dct_method="INTEGER_ACCURATE"``; its default differs.

    Returns:
        (n, size, size, 3) uint8 RGB; (0, 0, 0, 3) for no crops.

    Raises:
        ValueError: bytes that are no image, or crops of different sizes.
    """
    if not jpegs:
        return np.empty((0, 0, 0, 3), np.uint8)
    images: list[Any] = [cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) for data in jpegs]
    broken = [place for place, image in enumerate(images) if image is None]
    if broken:
        message = f"{len(broken)} of {len(jpegs)} crops are no JPEG images (the first: number {broken[0]})"
        raise ValueError(message)
    batch = np.stack(images)
    return np.ascontiguousarray(batch[..., ::-1])
