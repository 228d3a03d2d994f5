"""Eyes and mouth: painted on a face a frame, because they move."""

from dataclasses import dataclass

import numpy as np

from deepfake_core.sample.geometry import Array, smooth
from deepfake_core.sample.people import Person
from deepfake_core.sample.textures import Textures, bump

SCLERA = np.array((0.60, 0.54, 0.50), np.float32)
LASHES = np.array((0.012, 0.009, 0.008), np.float32)
TEETH = np.array((0.62, 0.56, 0.48), np.float32)
THROAT = np.array((0.035, 0.010, 0.010), np.float32)
TONGUE = np.array((0.30, 0.10, 0.095), np.float32)


@dataclass(frozen=True)
class Expression:
    """What a face does at one moment.

    Attributes:
        opening: of the mouth, 0 closed to 1 wide open.
        smile: -1 to 1; a smile widens the mouth and lifts its corners.
        blink: 0 eyes open to 1 closed.
        gaze: where the eyes look, to the right and downwards, each -1 to 1.
    """

    opening: float
    smile: float
    blink: float
    gaze: tuple[float, float]

    @property
    def jaw_drop(self) -> float:
        """How far the chin hangs below its place at rest, in head units."""
        return 0.11 * self.opening


def paint_expression(textures: Textures, person: Person, expression: Expression) -> Textures:
    """Return ``textures`` with eyes and mouth in ``expression``; the given maps are not changed."""
    painted = Textures(textures.colour.copy(), textures.surface.copy(), textures.x, textures.y, textures.bottom)
    for side in (-1, 1):
        _paint_eye(painted, person, expression, side)
    _paint_mouth(painted, person, expression)
    return painted


def _window(textures: Textures, centre: tuple[float, float], reach: tuple[float, float]) -> tuple[slice, slice]:
    """Return the index of the texels within ``reach`` of ``centre``, in face coordinates."""
    scale, half = textures.texels_per_unit, textures.colour.shape[0] / 2
    columns = [int(half + scale * (centre[0] + sign * reach[0])) for sign in (-1, 1)]
    rows = [int(half + scale * (centre[1] + sign * reach[1]) / textures.bottom) for sign in (-1, 1)]
    return slice(rows[0], rows[1] + 1), slice(columns[0], columns[1] + 1)


def _blend(base: Array, layer: Array, share: Array) -> None:
    """Paint ``layer`` over the first three channels of ``base``, in place."""
    base[..., :3] += share[..., None] * (layer - base[..., :3])


def _paint_eye(textures: Textures, person: Person, expression: Expression, side: int) -> None:
    eyes = person.eyes
    centre = (side * eyes.spacing, 0.0)
    window = _window(textures, centre, (1.55 * eyes.width, 1.25 * eyes.width))
    x = (textures.x[window] - centre[0]) * (side / eyes.width)  # -1 inner corner, 1 outer corner
    y = (textures.y[window] - centre[1]) / eyes.width
    aa = 1.2 / (textures.texels_per_unit * eyes.width)  # a texel and a bit
    slope = -eyes.tilt * x
    arc = np.maximum(1.0 - np.abs(x) ** 2.3, 0.0)
    lower = slope + eyes.lower * np.maximum(1 - x * x, 0.0)
    upper = slope - eyes.upper * arc * (1.0 + 0.12 * (0.2 - x))
    lid = upper + (lower - upper) * np.float32(0.94 * expression.blink)
    lid = lid + 0.10 * eyes.upper * expression.gaze[1] * arc  # lids follow the gaze
    inside = smooth(-aa, aa, y - lid) * smooth(-aa, aa, lower - y) * smooth(1.02, 0.94, np.abs(x))
    colour = textures.colour[window]
    crease = np.exp(-(((y - upper + 0.2 + 0.05 * arc) / 0.06) ** 2)) * smooth(1.15, 0.75, np.abs(x))
    colour[..., :3] *= (1.0 - 0.38 * crease)[..., None]
    shadow = np.exp(-(((y - upper + 0.1) / 0.16) ** 2)) * arc
    colour[..., :3] *= (1.0 - 0.18 * shadow)[..., None]
    _blend(colour, _eyeball(person, expression, x * side, y, lid), inside)
    lash = np.exp(-(((y - lid) / 0.07) ** 2)) * smooth(1.12, 0.9, np.abs(x)) * (0.55 + 0.4 * smooth(-0.6, 0.7, x))
    _blend(colour, LASHES, lash)
    lower_lash = np.exp(-(((y - lower) / 0.05) ** 2)) * smooth(1.05, 0.8, np.abs(x)) * 0.35
    _blend(colour, LASHES * 4, lower_lash)
    tear = bump(x, y, (-0.93, float(eyes.tilt)), (0.09, 0.07)) * (1.0 - expression.blink)
    _blend(colour, np.array((0.42, 0.17, 0.15), np.float32), 0.7 * tear)
    surface = textures.surface[window]
    surface[..., 3] *= 1.0 - inside


def _eyeball(person: Person, expression: Expression, x: Array, y: Array, lid: Array) -> Array:
    """Return the colour of sclera, iris, pupil and highlight, (rows, columns, 3)."""
    at = (0.22 * expression.gaze[0], -0.06 + 0.10 * expression.gaze[1])
    radius = np.hypot(x - at[0], y - at[1]) / 0.42
    shade = (1.0 - 0.35 * x * x) * (0.45 + 0.55 * smooth(0.0, 0.34, y - lid))
    ball = SCLERA * (0.3 + 0.7 * min(1.0, 0.45 + float(np.mean(person.skin.tone)))) * shade[..., None]
    iris = np.asarray(person.eyes.iris, np.float32) * (0.55 + 0.75 * smooth(0.35, 0.8, radius))[..., None]
    iris = iris * (0.25 + 0.75 * smooth(1.02, 0.78, radius) * (0.5 + 0.5 * smooth(0.0, 0.3, y - lid)))[..., None]
    ball = ball + smooth(1.06, 0.94, radius)[..., None] * (iris - ball)
    ball = ball * (1.0 - 0.97 * smooth(0.46, 0.36, radius))[..., None]
    glint = person.light.direction
    spark = bump(x, y, (at[0] + 0.24 * glint[0], at[1] - 0.05 + 0.22 * glint[1]), (0.065, 0.065))
    return ball + (0.8 * spark)[..., None]


def _paint_mouth(textures: Textures, person: Person, expression: Expression) -> None:
    mouth = person.mouth
    wide = mouth.width * (1.0 + 0.13 * expression.smile - 0.10 * expression.opening)
    centre = (0.0, mouth.height)
    window = _window(textures, centre, (1.35 * mouth.width, 0.42))
    x = textures.x[window] / wide
    y = textures.y[window] - centre[1]
    aa = 1.2 / textures.texels_per_unit
    arc = np.maximum(1.0 - x * x, 0.0)
    line = -0.045 * expression.smile * x * x + 0.012 * np.cos(3.0 * x) * arc
    gap_up = line - 0.02 * expression.opening * arc
    gap_down = line + 0.20 * expression.opening * arc**0.8
    bow = 1.0 - mouth.bow * np.exp(-((x / 0.2) ** 2))
    top = gap_up - mouth.upper * (1.0 - 0.2 * expression.smile) * bow * np.maximum(1 - np.abs(x) ** 1.7, 0)
    bottom = gap_down + mouth.lower * (1.0 - 0.15 * max(expression.smile, 0.0)) * arc**0.85
    inside = smooth(1.03, 0.93, np.abs(x))
    lips = smooth(-1.6 * aa, 1.6 * aa, y - top) * smooth(-2.2 * aa, 2.2 * aa, bottom - y) * inside
    gap = smooth(-aa, aa, y - gap_up) * smooth(-aa, aa, gap_down - y) * inside
    colour = textures.colour[window]
    _blend(colour, _lip_colour(person, x, y, gap_up, gap_down, bottom), 0.92 * lips)
    _blend(colour, _inside_of_mouth(expression, x, y, gap_up, gap_down), gap)
    seam = np.exp(-(((y - gap_up) / 0.014) ** 2)) * smooth(1.08, 0.95, np.abs(x)) * 0.7
    colour[..., :3] *= (1.0 - seam)[..., None]
    corner = bump(np.abs(x), y - line, (1.0, 0.0), (0.1, 0.035))
    colour[..., :3] *= (1.0 - 0.4 * corner)[..., None]
    surface = textures.surface[window]
    surface[..., 3] = (surface[..., 3] + 0.5 * lips * (y > gap_down)) * (1.0 - gap)


def _lip_colour(person: Person, x: Array, y: Array, gap_up: Array, gap_down: Array, bottom: Array) -> Array:
    upper = y < 0.5 * (gap_up + gap_down)
    across = np.clip((y - gap_down) / np.maximum(bottom - gap_down, 1e-3), 0, 1)
    shade = np.where(upper, np.float32(0.74), 0.80 + 0.5 * np.sin(np.pi * across) * (1 - 0.5 * x * x))
    shade = shade * (1.0 + 0.05 * np.sin(60 * x + 8 * np.sin(9 * x)))
    return np.asarray(np.asarray(person.mouth.colour, np.float32) * shade[..., None].astype(np.float32))


def _inside_of_mouth(expression: Expression, x: Array, y: Array, gap_up: Array, gap_down: Array) -> Array:
    ink = np.broadcast_to(THROAT, (*x.shape, 3)).copy()
    tongue = smooth(0.10, 0.02, gap_down - y) * smooth(0.85, 0.3, np.abs(x)) * expression.opening
    _blend(ink, TONGUE, tongue)
    reach = 0.075 * (0.4 + 0.6 * expression.opening)
    edges = 0.85 + 0.15 * np.cos(x * 32.0)
    teeth = smooth(reach, reach * 0.7, y - gap_up) * smooth(0.9, 0.6, np.abs(x))
    shade = (1.0 - 0.65 * x * x) * edges * (0.35 + 0.65 * smooth(0.0, 0.04, y - gap_up))
    _blend(ink, TEETH * shade[..., None], teeth * np.float32(min(1.0, 0.25 + 2.5 * expression.opening)))
    return ink
