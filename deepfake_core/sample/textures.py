"""From a person to the maps that wrap their head: colour, direction of the surface, gloss, hair.

Everything is painted once a person, in face coordinates (``geometry``), as float32 and linear light. Eyes and mouth
move and are painted a frame (``features``).
"""

from dataclasses import dataclass

import cv2
import numpy as np

from deepfake_core.sample.geometry import REACH, Array, half_width, smooth
from deepfake_core.sample.people import Person

TEXELS = 448
"""Side of a full texture; half of it serves faces that end up at low resolution."""


@dataclass(frozen=True)
class Textures:
    """The maps of one head.

    Attributes:
        colour: (side, side, 4) float32: linear red, green, blue, and hair (0 skin, 1 hair).
        surface: (side, side, 4) float32: unit normal x, y, z in head coordinates, and gloss.
        x: (side, side) face coordinate of each texel, to the right.
        y: (side, side) face coordinate of each texel, downwards.
        bottom: height of the lower face, which relates ``y`` to rows.
    """

    colour: Array
    surface: Array
    x: Array
    y: Array
    bottom: float

    @property
    def texels_per_unit(self) -> float:
        """Columns a head unit."""
        return float(self.colour.shape[0]) / (2 * REACH)

    def halved(self) -> "Textures":
        """Return the same maps at half the side."""
        side = self.colour.shape[0] // 2
        colour, surface, x, y = (
            cv2.resize(layer, (side, side), interpolation=cv2.INTER_AREA)
            for layer in (self.colour, self.surface, self.x, self.y)
        )
        return Textures(colour, surface, x, y, self.bottom)


def paint_textures(person: Person) -> Textures:
    """Paint the maps of ``person``'s head."""
    rng = np.random.default_rng([*person.stream, 1])
    steps = (np.arange(TEXELS, dtype=np.float32) + 0.5) * (2 * REACH / TEXELS) - REACH
    x = np.repeat(steps[None, :], TEXELS, axis=0)
    y = np.repeat(steps[:, None], TEXELS, axis=1) * np.float32(person.shape.bottom)
    strands = _strands(rng, x, y, waves=person.hair.waves)
    hair = _hair_mask(person, x, y, strands)
    skin = _skin_colour(person, rng, x, y)
    skin *= _brows(person, rng, x, y)[..., None] * (_hair_colour_ratio(person) - 1.0) + 1.0
    hair_colour = np.asarray(person.hair.colour, np.float32) * (0.45 + 0.9 * strands)[..., None]
    colour = skin + hair[..., None] * (hair_colour - skin)
    volume = cv2.GaussianBlur(hair, (0, 0), 7)
    relief = _relief(person, rng, x, y) * (1 - hair) + 0.05 * volume + 0.03 * hair * (strands - 0.5)
    gloss = np.float32(person.skin.gloss) * _gloss(x, y) * (1 - hair) + hair * 0.25 * strands
    surface = np.dstack([_normals(person, x, y, relief), gloss])
    return Textures(np.dstack([colour, hair]), surface.astype(np.float32), x, y, person.shape.bottom)


def bump(x: Array, y: Array, at: tuple[float, float], size: tuple[float, float]) -> Array:
    """Return a Gaussian hill of height 1 at ``at`` with radii ``size``."""
    return np.exp(-(((x - at[0]) / size[0]) ** 2) - ((y - at[1]) / size[1]) ** 2)


def fractal(rng: np.random.Generator, size: tuple[int, int], cells: int, octaves: int) -> Array:
    """Return smooth noise of (height, width) ``size``, deviation 1, of ``cells`` cells across and finer octaves."""
    total = np.zeros(size, np.float32)
    for octave in range(octaves):
        count = cells * 2**octave
        grid = rng.standard_normal((count, count), dtype=np.float32)
        total += cv2.resize(grid, size[::-1], interpolation=cv2.INTER_CUBIC) * np.float32(0.6**octave)
    return total / max(float(total.std()), 1e-6)


def _skin_colour(person: Person, rng: np.random.Generator, x: Array, y: Array) -> Array:
    skin = person.skin
    size = x.shape
    side = np.abs(x)
    red = skin.blush * (
        0.55 * bump(side, y, (0.5, 0.52), (0.26, 0.24)) + 0.5 * bump(x, y, (0.0, 0.5), (0.2, 0.16))
    ) + 0.12 * skin.blotches * fractal(rng, size, 12, 3)
    shade = 1.0 + 0.035 * skin.blotches * fractal(rng, size, 10, 4) + 0.02 * fractal(rng, size, 150, 1)
    shade -= 0.2 * bump(side, y, (person.eyes.spacing - 0.05, 0.0), (0.27, 0.14))  # eye sockets
    shade -= (0.08 + 0.14 * skin.age) * bump(side, y, (person.eyes.spacing - 0.03, 0.17), (0.17, 0.06))  # eye bags
    shade -= 0.16 * smooth(0.75, 1.15, side) + 0.22 * smooth(1.25, 1.75, y)
    shade -= (0.04 + 0.12 * skin.age) * _fold(side, y, person)
    shade -= 0.14 * bump(x, y, (0.0, person.nose.height + 0.07), (person.nose.width * 1.1, 0.06))  # below the nose
    shade -= 0.2 * bump(x, y, (0.0, person.mouth.height + person.mouth.lower + 0.05), (0.2, 0.045))  # below the lip
    shade -= skin.age * 0.08 * _wrinkles(x, y)
    colour = np.asarray(skin.tone, np.float32) * np.maximum(shade, 0.2)[..., None]
    colour *= 1.0 + red[..., None] * np.array((0.10, -0.12, -0.10), np.float32)
    colour *= 1.0 - (_freckles(rng, x, y) * skin.freckles)[..., None] * np.array((0.28, 0.42, 0.5), np.float32)
    nostrils = bump(side, y, (0.48 * person.nose.width, person.nose.height + 0.005), (0.052, 0.032))
    colour *= 1.0 - (0.8 * nostrils)[..., None] * np.array((0.8, 1.0, 1.0), np.float32)
    wings = bump(side, y, (1.08 * person.nose.width, person.nose.height - 0.05), (0.028, 0.085))
    colour *= 1.0 - (0.3 * wings)[..., None]
    if skin.beard > 0:
        stubble = _beard(person, x, y) * np.clip(
            0.86 + 0.12 * fractal(rng, size, 210, 1) + 0.06 * fractal(rng, size, 30, 2), 0, 1
        )
        colour += np.clip(stubble, 0, 1)[..., None] * (np.asarray(person.hair.colour, np.float32) * 0.9 - colour)
    return colour


def _fold(side: Array, y: Array, person: Person) -> Array:
    """Return the line from the wings of the nose to the corners of the mouth."""
    share = np.clip((y - person.nose.height + 0.06) / (person.mouth.height - person.nose.height + 0.1), 0, 1)
    line = person.nose.width + 0.04 + (person.mouth.width + 0.06 - person.nose.width) * share
    return np.exp(-(((side - line) / 0.035) ** 2)) * smooth(0.0, 0.25, share) * smooth(1.0, 0.7, share)


def _wrinkles(x: Array, y: Array) -> Array:
    rows = np.sin(2 * np.pi * (y + 0.03 * np.cos(3.2 * x)) / 0.115) ** 8
    return rows * smooth(-0.38, -0.48, y) * smooth(-0.85, -0.75, y) * smooth(0.6, 0.3, np.abs(x))


def _freckles(rng: np.random.Generator, x: Array, y: Array) -> Array:
    spots = np.clip(fractal(rng, x.shape, 110, 1) - 1.1, 0, 1)
    return spots * np.clip(bump(np.abs(x), y, (0.3, 0.42), (0.45, 0.3)) * 1.3, 0, 1)


def _beard(person: Person, x: Array, y: Array) -> Array:
    side = np.abs(x)
    cheek = smooth(0.0, 0.16, y - (0.98 - 0.75 * smooth(0.3, 0.95, side)))
    lip = bump(x, y, (0.0, 0.5 * (person.nose.height + person.mouth.height) + 0.05), (0.3, 0.09))
    bare = bump(x, y, (0.0, person.mouth.height), (person.mouth.width * 1.05, 0.12))
    return np.clip(np.maximum(cheek, 0.9 * lip) - 0.75 * bare, 0, 1) * np.float32(person.skin.beard)


def _brows(person: Person, rng: np.random.Generator, x: Array, y: Array) -> Array:
    eyes = person.eyes
    side = np.abs(x)
    along = (side - eyes.spacing) / (1.3 * eyes.width)  # -1 inner end, 1 outer end
    middle = -eyes.brow_height - eyes.brow_arch * (1 - (along - 0.25) ** 2) + 0.02 * smooth(0.3, 1.0, along)
    thickness = eyes.brow_thickness * (1.15 - 0.45 * smooth(-0.4, 1.0, along))
    across = (y - middle) / thickness
    body = np.exp(-(across**4)) * smooth(-1.05, -0.75, along) * smooth(1.1, 0.75, along)
    hairs = np.sin((side * 150 + y * 90) + 3.5 * fractal(rng, x.shape, 60, 2))
    strokes: Array = np.clip(body * (0.82 + 0.2 * hairs), 0, 1)
    return strokes * np.float32(eyes.brow_density)


def _hair_colour_ratio(person: Person) -> Array:
    return np.asarray(person.hair.colour, np.float32) * 0.8 / np.asarray(person.skin.tone, np.float32)


def _strands(rng: np.random.Generator, x: Array, y: Array, *, waves: float) -> Array:
    """Return hair strands that run from the crown outwards, 0 to 1."""
    angle = np.arctan2(x, -(y + 2.1))  # the parting lies above the head
    radius = np.hypot(x, y + 2.1)
    angle = angle + 0.05 * waves * np.sin(radius * 9.0 + 2.0 * fractal(rng, x.shape, 5, 1))
    fine = rng.standard_normal((20, 420), dtype=np.float32)
    coarse = cv2.resize(rng.standard_normal((6, 90), dtype=np.float32), (420, 20), interpolation=cv2.INTER_CUBIC)
    table = fine * 0.5 + coarse
    columns = ((angle / np.pi + 1.0) * 0.5 * 419).astype(np.float32)
    rows = np.clip(radius * 5.0, 0, 19).astype(np.float32)
    lines: Array = cv2.remap(table, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(np.clip(0.5 + 0.24 * lines, 0.0, 1.0))


def _hair_mask(person: Person, x: Array, y: Array, strands: Array) -> Array:
    style, hairline = person.hair.style, -person.hair.hairline
    side = np.abs(x)
    if style == "receding":
        line = hairline - 0.28 + 0.1 * np.cos(5 * side) - 0.15 * smooth(0.2, 0.6, side) * smooth(1.0, 0.7, side)
    else:
        line = hairline - 0.05 + 0.10 * side * side - 0.10 * bump(side, y, (0.55, hairline), (0.16, 9.0))
    if style in {"long", "bob"}:
        parted = side + 0.08 * (strands - 0.5)
        line = hairline - 0.05 + 0.75 * smooth(0.05, 0.85, parted) + 3.0 * smooth(0.78, 1.02, parted) ** 2
    else:
        temple = 0.15 if style != "updo" else -0.1
        line = line + (temple - line) * smooth(0.62, 0.98, side)
        line = line + 0.6 * smooth(1.08, 1.25, side)
    softness = 0.16 if style in {"buzz", "receding"} else 0.09
    return smooth(softness, -softness, y - line + 0.10 * (strands - 0.5))


def _relief(person: Person, rng: np.random.Generator, x: Array, y: Array) -> Array:
    """Return how far the surface stands out of the ellipsoid, as a share of its radius."""
    nose, eyes, mouth, side = person.nose, person.eyes, person.mouth, np.abs(x)
    along = np.clip((y + 0.18) / (nose.height + 0.10), 0, 1)
    ridge_width = 0.085 + 0.05 * along + 0.4 * (nose.width - 0.15) * along**3
    ridge = (nose.bridge * 0.55 + 0.6 * (nose.tip - 0.45 * nose.bridge) * along**1.4) * np.exp(
        -((x / ridge_width) ** 2)
    )
    ridge *= smooth(-0.3, -0.02, y) * smooth(nose.height + 0.06, nose.height - 0.17, y)
    height = ridge
    height += 0.085 * bump(x, y, (0.0, nose.height - 0.08), (0.115, 0.10))
    height += 0.05 * bump(side, y, (0.75 * nose.width, nose.height - 0.045), (0.065, 0.065))
    height += 0.035 * bump(side, y, (eyes.spacing - 0.05, -eyes.brow_height + 0.03), (0.33, 0.09))  # brow ridge
    height -= 0.06 * bump(side, y, (eyes.spacing - 0.04, 0.01), (0.23, 0.14))
    height += 0.05 * bump(side, y, (eyes.spacing, 0.0), (0.16, 0.09))  # the ball of the eye
    height += 0.04 * bump(side, y, (0.58, 0.38), (0.24, 0.17))  # cheek bones
    height -= 0.03 * bump(side, y, (0.66, 0.85), (0.16, 0.28))
    height += 0.03 * bump(x, y, (0.0, mouth.height), (0.36, 0.2))
    height += 0.03 * bump(x, y, (0.0, mouth.height - 0.55 * mouth.upper), (0.24, 0.045))
    height += 0.04 * bump(x, y, (0.0, mouth.height + 0.55 * mouth.lower), (0.2, 0.055))
    height -= 0.025 * bump(x, y, (0.0, mouth.height + mouth.lower + 0.06), (0.22, 0.05))
    height += 0.045 * bump(x, y, (0.0, mouth.height + 0.38), (0.22, 0.15))  # chin
    height -= (0.003 + 0.008 * person.skin.age) * _fold(side, y, person)
    height -= 0.004 * person.skin.age * _wrinkles(x, y)
    return height + 0.0004 * fractal(rng, x.shape, 150, 1) + 0.0016 * fractal(rng, x.shape, 12, 2)


def _gloss(x: Array, y: Array) -> Array:
    side = np.abs(x)
    shine = 0.35 + 0.5 * bump(x, y, (0.0, 0.35), (0.14, 0.35)) + 0.45 * bump(x, y, (0.0, -0.6), (0.45, 0.22))
    return shine + 0.3 * bump(side, y, (0.5, 0.33), (0.2, 0.15)) + 0.3 * bump(x, y, (0.0, 1.2), (0.15, 0.12))


def _normals(person: Person, x: Array, y: Array, relief: Array) -> Array:
    """Return unit normals (side, side, 3) of the ellipsoid with its relief, by finite differences."""
    shape = person.shape
    v = y / shape.bottom
    squared = x * x + v * v
    fold = np.sqrt(np.maximum(1.0 - squared / 4.0, 0.0))
    across, down, near = x * fold, v * fold, 1.0 - squared / 2.0
    tall = np.where(down < 0, np.float32(shape.top), np.float32(shape.bottom))
    out = 1.0 + relief
    points = np.dstack([across * half_width(shape, down) * out, down * tall * out, near * shape.depth * out])
    rightwards = np.gradient(points, axis=1)
    downwards = np.gradient(points, axis=0)
    normals: Array = np.cross(rightwards, downwards)
    return np.asarray(normals / np.maximum(np.linalg.norm(normals, axis=2, keepdims=True), 1e-9))
