"""Where a camera ray meets a head: a squashed ellipsoid with a jaw and a crown.

Coordinates: x to the right, y down, z towards the camera, in *head units*: one unit is half the width of the head, and
the origin lies between the eyes, inside the head. A point of the surface is also a point of the unit sphere, and the
sphere is laid flat by Lambert's equal-area projection about the middle of the face. Its height times the height of the
lower face gives *face coordinates*, in which everything is painted: they are nearly head units where the features are,
so a circle painted there looks round.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
"""float32, unless said otherwise."""

REACH = 1.75
"""Where the flat sphere ends: beyond the whole of the face, behind the ears."""


JAW_LINE = (0.75, 1.35)
"""Between these face coordinates the skin follows an opening jaw: not at all above, wholly below."""


@dataclass(frozen=True)
class HeadShape:
    """Half axes of a head in units of half its width.

    Attributes:
        top: from the eyes to the top of the hair.
        bottom: from the eyes to the chin.
        depth: from the middle of the head to the face.
        jaw: how much narrower than an ellipsoid the jaw is (negative: squarer).
        crown: how much wider than an ellipsoid the hair is.
    """

    top: float
    bottom: float
    depth: float
    jaw: float
    crown: float


@dataclass(frozen=True)
class Pose:
    """Where a head is and where it looks.

    Attributes:
        x: of the point between the eyes, in pixels.
        y: of the point between the eyes, in pixels.
        unit: pixels a head unit.
        yaw: turn to the right, in radians.
        pitch: nod downwards, in radians.
        roll: tilt clockwise, in radians.
    """

    x: float
    y: float
    unit: float
    yaw: float
    pitch: float
    roll: float

    def rotation(self) -> npt.NDArray[np.float64]:
        """Return the (3, 3) matrix from head to camera coordinates."""
        cos, sin = np.cos, np.sin
        turn = np.array(
            [[cos(self.yaw), 0, sin(self.yaw)], [0, 1, 0], [-sin(self.yaw), 0, cos(self.yaw)]], dtype=np.float64
        )
        nod = np.array([[1, 0, 0], [0, cos(self.pitch), sin(self.pitch)], [0, -sin(self.pitch), cos(self.pitch)]])
        tilt = np.array([[cos(self.roll), -sin(self.roll), 0], [sin(self.roll), cos(self.roll), 0], [0, 0, 1]])
        return np.asarray(tilt @ nod @ turn, dtype=np.float64)

    def scaled(self, factor: float) -> "Pose":
        """Return the same pose in a frame ``factor`` times as large."""
        return Pose(self.x * factor, self.y * factor, self.unit * factor, self.yaw, self.pitch, self.roll)


@dataclass(frozen=True)
class Box:
    """A rectangle of whole pixels; right and bottom are outside."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index of the rectangle in an array (height, width, …)."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, in OpenCV's order."""
        return self.right - self.left, self.bottom - self.top


@dataclass(frozen=True)
class Surface:
    """What the rays of a rectangle of pixels hit; arrays are float32 of the rectangle's height and width.

    Attributes:
        box: the rectangle.
        x: face coordinate to the right.
        y: face coordinate downwards.
        edge: distance from the outline in pixels, positive inside.
    """

    box: Box
    x: Array
    y: Array
    edge: Array


def smooth(low: float, high: float, values: Array) -> Array:
    """Return the smooth step of ``values`` from 0 at ``low`` to 1 at ``high`` (``low`` may be the larger one)."""
    share = np.clip((values - low) / (high - low), 0.0, 1.0)
    return share * share * (3.0 - 2.0 * share)


def half_width(shape: HeadShape, height: Array) -> Array:
    """Return the factor on the ellipsoid's width at sphere height ``height`` (-1 top of the head, 1 chin)."""
    return 1.0 - shape.jaw * smooth(0.2, 0.95, height) + shape.crown * smooth(-0.1, -0.6, height)


def cast(shape: HeadShape, pose: Pose, *, jaw_drop: float, width: int, height: int, margin: float = 1.12) -> Surface:
    """Return what the camera sees of a head.

    Args:
        shape: of the head.
        pose: of the head, in pixels of a frame of ``width`` × ``height``.
        jaw_drop: how far the chin hangs below its place at rest, in head units.
        width: of the frame.
        height: of the frame.
        margin: how far beyond the head the rectangle reaches, as a factor.
    """
    box = _box_of(shape, pose, width=width, height=height, margin=margin)
    columns = ((np.arange(box.left, box.right, dtype=np.float32) + 0.5) - pose.x) / pose.unit
    rows = ((np.arange(box.top, box.bottom, dtype=np.float32) + 0.5) - pose.y) / pose.unit
    to_head = pose.rotation().T.astype(np.float32)
    start = [to_head[i, 0] * columns[None, :] + to_head[i, 1] * rows[:, None] for i in range(3)]
    ray = [float(to_head[i, 2]) for i in range(3)]
    bottom = shape.bottom + jaw_drop
    tall = np.where(start[1] < 0.0, np.float32(shape.top), np.float32(bottom))
    wide = half_width(shape, start[1] / tall)
    sphere = [start[0], start[1], start[2]]
    inside = tall
    for _ in range(2):  # the second round knows at which height the ray arrives
        a = (ray[0] / wide) ** 2 + (ray[1] / tall) ** 2 + (ray[2] / shape.depth) ** 2
        b = start[0] * (ray[0] / wide**2) + start[1] * (ray[1] / tall**2) + start[2] * (ray[2] / shape.depth**2)
        c = (start[0] / wide) ** 2 + (start[1] / tall) ** 2 + (start[2] / shape.depth) ** 2 - 1.0
        inside = b * b - a * c
        distance = (np.sqrt(np.maximum(inside, 0.0)) - b) / a
        hit = [start[i] + ray[i] * distance for i in range(3)]
        tall = np.where(hit[1] < 0.0, np.float32(shape.top), np.float32(bottom))
        sphere = [hit[0] / wide, hit[1] / tall, hit[2] / shape.depth]
        wide = half_width(shape, np.clip(sphere[1], -1.0, 1.0))
    fold = np.sqrt(2.0 / np.maximum(1.0 + sphere[2], 0.05))
    y = sphere[1] * fold * bottom
    y -= jaw_drop * smooth(JAW_LINE[0], JAW_LINE[1], y)
    return Surface(box, sphere[0] * fold, y, inside / a * (0.5 * pose.unit))


def project(shape: HeadShape, pose: Pose, x: float, y: float) -> tuple[float, float]:
    """Return the pixel (x, y) at which the camera sees a point of a face at rest, given in face coordinates."""
    v = y / shape.bottom
    squared = x * x + v * v
    fold = float(np.sqrt(max(1.0 - squared / 4.0, 0.0)))
    across, down, near = x * fold, v * fold, 1.0 - squared / 2.0
    wide = float(half_width(shape, np.asarray(down, dtype=np.float32)))
    point = np.array((across * wide, down * (shape.top if down < 0 else shape.bottom), near * shape.depth))
    x, y, _ = pose.rotation() @ point
    return float(pose.x + pose.unit * x), float(pose.y + pose.unit * y)


def _box_of(shape: HeadShape, pose: Pose, *, width: int, height: int, margin: float) -> Box:
    across = margin * pose.unit * (1.0 + shape.crown + 0.25 * abs(np.sin(pose.roll)))
    up = margin * pose.unit * (shape.top + 0.25 * abs(pose.pitch))
    down = margin * pose.unit * (shape.bottom + 0.25 * abs(pose.pitch) + 0.1)
    return Box(
        left=max(int(pose.x - across), 0),
        top=max(int(pose.y - up), 0),
        right=min(int(pose.x + across) + 1, width),
        bottom=min(int(pose.y + down) + 1, height),
    )
