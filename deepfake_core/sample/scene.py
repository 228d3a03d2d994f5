"""What surrounds a head: the room behind it, neck and shoulders below it, hair and ears beside it.

All layers are float32 in linear light. The room stands still; shoulders and the hair behind a head move with it.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from deepfake_core.sample.geometry import Array, smooth
from deepfake_core.sample.motion import head_unit
from deepfake_core.sample.people import Colour, Person
from deepfake_core.sample.textures import bump, fractal

BEHIND_REACH = 2.4
"""The layer behind a head covers this many head units to all sides of the point between the eyes."""


@dataclass(frozen=True)
class Scene:
    """The layers around a head.

    Attributes:
        room: (height, width, 3) background.
        body: (height, width, 4) neck and shoulders, premultiplied with their coverage, for a head at ``rest``.
        behind: (side, side, 4) hair, ears and neck behind the head, premultiplied, centred between the eyes.
        rest: pixel (x, y) of the point between the eyes for which ``body`` was painted.
    """

    room: Array
    body: Array
    behind: Array
    rest: tuple[float, float]


def paint_scene(person: Person, *, width: int, height: int) -> Scene:
    """Paint the layers around ``person``'s head for frames of ``width`` × ``height`` pixels."""
    rng = np.random.default_rng([*person.stream, 3])
    rest = (person.camera.x * width, person.camera.y * height)
    unit = head_unit(person, width=width, height=height)
    room = _room(person, rng, width, height)
    x = np.repeat(((np.arange(width, dtype=np.float32) - rest[0]) / unit)[None, :], height, axis=0)
    y = np.repeat(((np.arange(height, dtype=np.float32) - rest[1]) / unit)[:, None], width, axis=1)
    body = _body(person, rng, x, y)
    side = int(2 * BEHIND_REACH * unit)
    steps = (np.arange(side, dtype=np.float32) + 0.5) / unit - np.float32(side / unit / 2)
    behind = _behind(person, rng, np.repeat(steps[None, :], side, axis=0), np.repeat(steps[:, None], side, axis=1))
    return Scene(room, body, behind, rest)


def _over(below: Array, colour: Array, coverage: Array) -> Array:
    """Lay ``colour`` over a premultiplied layer (…, 4)."""
    kept = (1.0 - coverage)[..., None]
    return np.asarray(below * kept + np.dstack([colour * coverage[..., None], coverage]))


def _rgb(colour: Colour) -> Array:
    return np.asarray(colour, np.float32)


def _lit(person: Person, x: Array, y: Array, z: Array) -> Array:
    """Return the light (…, 3) that falls on a surface with normals x, y, z (any length)."""
    length = np.sqrt(x * x + y * y + z * z)
    light = person.light.direction
    falls = np.clip((light[0] * x + light[1] * y + light[2] * z) / length * 0.8 + 0.2, 0, 1)
    return np.asarray(_rgb(person.light.ambient) * 0.8 + falls[..., None] * _rgb(person.light.key))


def _room(person: Person, rng: np.random.Generator, width: int, height: int) -> Array:
    first, second, third = (_rgb(colour) for colour in person.room.colours)
    x = np.repeat(np.linspace(0, 1, width, dtype=np.float32)[None, :], height, axis=0)
    y = np.repeat(np.linspace(0, 1, height, dtype=np.float32)[:, None], width, axis=1)
    share = smooth(-0.2, 1.2, x * float(rng.uniform(-1, 1)) + y * float(rng.uniform(0.2, 1)) + 0.2)
    canvas = np.ascontiguousarray(first + (second * 0.5 + first * 0.3 - first) * share[..., None])
    paint = {"studio": _panels, "office": _shelves, "wall": _frames, "outdoors": _leaves}[person.room.backdrop]
    blur = paint(canvas, rng, second, third) * height / 336
    canvas = cv2.GaussianBlur(canvas, (0, 0), blur)
    glow = bump(x, y, (float(rng.uniform(0.2, 0.8)), float(rng.uniform(0.1, 0.5))), (0.5, 0.6))
    vignette = 1.0 - 0.35 * ((x - 0.5) ** 2 + (y - 0.5) ** 2)
    grain = 1.0 + 0.008 * fractal(rng, (height, width), 60, 2)
    return np.asarray(canvas * ((0.75 + 0.35 * glow) * vignette * grain)[..., None], np.float32)


def _panels(canvas: Array, rng: np.random.Generator, second: Array, third: Array) -> float:
    height, width = canvas.shape[:2]
    for _ in range(int(rng.integers(3, 7))):
        left, wide = int(rng.uniform(-0.1, 1.0) * width), int(rng.uniform(0.05, 0.25) * width)
        colour = (second if rng.random() < 0.6 else third) * float(rng.uniform(0.2, 0.8))
        cv2.rectangle(canvas, (left, 0), (left + wide, height), tuple(map(float, colour)), -1)
    return float(rng.uniform(6, 12))


def _shelves(canvas: Array, rng: np.random.Generator, second: Array, third: Array) -> float:
    height, width = canvas.shape[:2]
    for row in range(4):
        base = int((row + 1) * 0.25 * height)
        at = 0
        while at < width:
            wide, tall = int(rng.uniform(0.015, 0.05) * width), int(rng.uniform(0.12, 0.2) * height)
            if rng.random() < 0.75:
                mix = (second, third, (second + third) / 2)[int(rng.integers(3))] * float(rng.uniform(0.1, 0.8))
                cv2.rectangle(canvas, (at, base - tall), (at + wide, base), tuple(map(float, mix)), -1)
            at += wide
        shelf = tuple(float(value) for value in second * 0.25)
        cv2.rectangle(canvas, (0, base), (width, base + height // 60), shelf, -1)
    return float(rng.uniform(3.5, 6))


def _frames(canvas: Array, rng: np.random.Generator, second: Array, third: Array) -> float:
    height, width = canvas.shape[:2]
    for _ in range(int(rng.integers(1, 4))):
        left, top = int(rng.uniform(0, 0.85) * width), int(rng.uniform(0.02, 0.5) * height)
        right, bottom = left + int(rng.uniform(0.12, 0.3) * width), top + int(rng.uniform(0.15, 0.4) * height)
        cv2.rectangle(canvas, (left, top), (right, bottom), tuple(map(float, second * 0.2)), -1)
        rim = height // 40
        inner = tuple(map(float, third * float(rng.uniform(0.4, 0.9))))
        cv2.rectangle(canvas, (left + rim, top + rim), (right - rim, bottom - rim), inner, -1)
    return float(rng.uniform(2.5, 4.5))


def _leaves(canvas: Array, rng: np.random.Generator, second: Array, third: Array) -> float:
    height, width = canvas.shape[:2]
    canvas *= np.array((0.75, 1.0, 0.8), np.float32)
    for _ in range(90):
        centre = (int(rng.uniform(0, width)), int(rng.uniform(0, 0.9) * height))
        green = np.array((0.5, 1.0, 0.35), np.float32)
        colour = (green if rng.random() < 0.6 else third + 0.2) * second.mean() * float(rng.uniform(0.1, 1.6))
        cv2.circle(canvas, centre, int(rng.uniform(0.015, 0.06) * height), tuple(map(float, colour)), -1, cv2.LINE_AA)
    return float(rng.uniform(4, 8))


def _body(person: Person, rng: np.random.Generator, x: Array, y: Array) -> Array:
    bottom, side = person.shape.bottom, np.abs(x)
    neck_width = 0.60 - 0.6 * max(person.shape.jaw, -0.04) - 0.03 * (person.hair.style in {"long", "bob", "updo"})
    layer = np.zeros((*x.shape, 4), np.float32)
    sharp = 0.015
    edge = neck_width + 0.22 * smooth(bottom - 0.1, bottom + 0.75, y) ** 2
    neck = smooth(sharp, -sharp, side - edge) * smooth(0.3, 0.35, y)
    facing = np.clip(x / edge, -0.98, 0.98)
    light = _lit(person, facing, np.full_like(x, 0.1), np.sqrt(1 - facing**2))
    under = 0.86 - 0.62 * smooth(bottom + 0.42, bottom + 0.02, y + 0.18 * side + 0.12 * person.light.direction[0] * x)
    sinew = 1.0 - 0.10 * np.exp(-(((side - 0.16 - 0.18 * (bottom + 0.6 - y)) / 0.05) ** 2))
    skin = _rgb(person.skin.tone) * np.array((0.97, 0.92, 0.90), np.float32)
    layer = _over(layer, skin * light * (under * sinew)[..., None], neck)
    shoulder = bottom + 0.50 + 0.20 * side**1.5 + 0.30 * smooth(1.75, 2.6, side)
    opening = {"crew": 0.28, "vee": 0.75, "shirt": 0.55}[person.room.collar]
    depth = opening * np.maximum(1.0 - (side / 0.70) ** (2.0 if person.room.collar == "crew" else 1.0), 0.0)
    below = y - np.where(side < 0.70, bottom + 0.42 + depth * 0.8, shoulder - 0.2 * 0.70**1.5)
    cloth = smooth(-sharp, sharp, below)
    folds = 1.0 + 0.10 * fractal(rng, x.shape, 7, 2) * smooth(0.0, 0.5, below) + 0.03 * fractal(rng, x.shape, 90, 1)
    light = _lit(person, 0.45 * x, np.full_like(x, -0.35), np.ones_like(x))
    cloth_colour = _rgb(person.room.cloth) * light * (folds * (0.65 + 0.35 * smooth(0.0, 0.18, below)))[..., None]
    layer = _over(layer, cloth_colour, cloth)
    if person.room.collar == "shirt":
        band = smooth(-sharp, sharp, below + 0.02) * smooth(0.11, 0.09, below) * smooth(0.72, 0.66, side)
        layer = _over(layer, _rgb(person.room.shirt) * light * 0.8, band)
    return np.asarray(layer, np.float32)


def _behind(person: Person, rng: np.random.Generator, x: Array, y: Array) -> Array:
    layer = np.zeros((*x.shape, 4), np.float32)
    side = np.abs(x)
    style = person.hair.style
    hair = np.zeros_like(x)
    if style in {"long", "bob"}:
        end = 2.3 if style == "long" else 1.25
        wave = 0.05 * person.hair.waves * np.sin(6.0 * y + 1.3)
        outline = 1.10 + 0.10 * smooth(-0.2, 0.9, y) + wave - 0.12 * smooth(end - 0.4, end, y)
        outline = outline * np.sqrt(np.maximum(1.0 - (np.minimum(y + 0.2, 0.0) / 1.35) ** 2, 0.0))
        rough = 0.03 * fractal(rng, x.shape, 24, 2)
        hair = smooth(0.05, -0.05, side - outline + rough) * smooth(0.12, -0.12, y - end + 2 * rough)
        hair = hair * smooth(-1.52, -1.40, y)
        throat = 0.50 + 0.16 * smooth(person.shape.bottom, 2.2, y) + rough
        hair = hair * (1.0 - smooth(0.06, -0.06, side - throat) * smooth(0.9, 1.05, y))
    elif style == "updo":
        hair = smooth(1.06, 0.94, np.hypot(x / 0.46, (y + person.shape.top - 0.04) / 0.30))
    lines = cv2.resize(rng.standard_normal((6, 150), dtype=np.float32), x.shape[::-1], interpolation=cv2.INTER_CUBIC)
    shade = np.clip(0.62 + 0.16 * lines, 0.1, 1.2) * (
        0.55 + 0.45 * smooth(0.75, 1.15, side) + 0.6 * smooth(-1.0, -1.5, y)
    )
    light = _lit(person, 0.6 * x, np.full_like(x, -0.1), np.ones_like(x)) * 0.75
    layer = _over(layer, _rgb(person.hair.colour) * light * shade[..., None], hair)
    if style not in {"long", "bob"}:
        layer = _ears(person, layer, x, y)
    return np.asarray(layer, np.float32)


def _ears(person: Person, layer: Array, x: Array, y: Array) -> Array:
    side = np.abs(x)
    local_x, local_y = (side - 1.0) / 0.115, (y - 0.14) / 0.25
    radius = np.hypot(local_x + 0.25 * local_y, local_y)
    ear = smooth(1.06, 0.94, radius)
    shade = 0.42 + 0.38 * smooth(0.3, 0.85, radius) - 0.2 * smooth(0.85, 1.0, radius)
    light = _lit(person, np.sign(x) * 0.7, np.full_like(x, -0.1), np.full_like(x, 0.7))
    red = np.array((1.0, 0.82, 0.78), np.float32)
    return _over(layer, _rgb(person.skin.tone) * red * light * shade[..., None], ear)
