"""Box: where a face is, in pixels of its frame."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

Landmarks = tuple[float, ...]


@dataclass(frozen=True)
class Box:
    """A face found in a frame.

    Attributes:
        x1: left edge in pixels, 0 at the left edge of the frame.
        y1: top edge.
        x2: right edge, exclusive.
        y2: bottom edge, exclusive.
        confidence: of the detector, 0 to 1; 1.0 where it has none.
        landmarks: x, y of right eye, left eye, nose tip, right and left corner of the mouth (ten numbers, in pixels);
            None where the detector gives none.
    """

    x1: float
    y1: float
    x2: float
    y2: float
    confidence: float = 1.0
    landmarks: Landmarks | None = None

    @property
    def width(self) -> float:
        """Width in pixels."""
        return self.x2 - self.x1

    @property
    def height(self) -> float:
        """Height in pixels."""
        return self.y2 - self.y1

    @property
    def area(self) -> float:
        """Area in square pixels; zero for a box without extent."""
        return max(self.width, 0.0) * max(self.height, 0.0)

    @property
    def centre(self) -> tuple[float, float]:
        """Centre (x, y) in pixels."""
        return (self.x1 + self.x2) / 2, (self.y1 + self.y2) / 2

    def scaled(self, horizontal: float, vertical: float) -> "Box":
        """Return the box in a frame that is larger by these factors."""
        landmarks = self.landmarks
        if landmarks is not None:
            landmarks = tuple(value * (vertical if place % 2 else horizontal) for place, value in enumerate(landmarks))
        return replace(
            self,
            x1=self.x1 * horizontal,
            y1=self.y1 * vertical,
            x2=self.x2 * horizontal,
            y2=self.y2 * vertical,
            landmarks=landmarks,
        )


def overlap(first: Box, second: Box) -> float:
    """Return intersection over union of two boxes, 0 to 1."""
    width = min(first.x2, second.x2) - max(first.x1, second.x1)
    height = min(first.y2, second.y2) - max(first.y1, second.y1)
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (first.area + second.area - shared)


def between(first: Box, second: Box, share: float) -> Box:
    """Return the box that lies ``share`` (0 to 1) of the way from ``first`` to ``second``.

    Its confidence is the lower of the two, since nobody looked.
    """

    def mix(start: float, end: float) -> float:
        return start + (end - start) * share

    landmarks = None
    if first.landmarks is not None and second.landmarks is not None:
        landmarks = tuple(mix(start, end) for start, end in zip(first.landmarks, second.landmarks, strict=True))
    return Box(
        mix(first.x1, second.x1),
        mix(first.y1, second.y1),
        mix(first.x2, second.x2),
        mix(first.y2, second.y2),
        min(first.confidence, second.confidence),
        landmarks,
    )


def usable(boxes: Iterable[Box], *, width: int, height: int, min_confidence: float, min_side: float) -> list[Box]:
    """Drop boxes that are unsure, smaller than ``min_side`` pixels, without extent or outside of the frame."""
    return [
        box
        for box in boxes
        if box.confidence >= min_confidence
        and all(map(math.isfinite, (box.x1, box.y1, box.x2, box.y2)))
        and min(box.width, box.height) >= max(min_side, 1.0)
        and box.x1 < width
        and box.y1 < height
        and box.x2 > 0
        and box.y2 > 0
    ]
