"""Who appears in the embedded data set: everything that makes one person, their room and their camera.

People come in pairs, because they are swapped in pairs. What two people of a pair share (skin tone, hair family, beard)
is drawn once a pair: faces that are swapped are alike, and a swap is not betrayed by a beard that vanishes.
"""

from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from deepfake_core.sample.geometry import HeadShape

HairStyle = Literal["short", "volume", "buzz", "receding", "long", "bob", "updo"]
Backdrop = Literal["studio", "office", "wall", "outdoors"]
Colour = tuple[float, float, float]
"""Linear RGB, 0 to 1."""

Choice = TypeVar("Choice")

SHORT_STYLES: tuple[HairStyle, ...] = ("short", "volume", "buzz", "receding")
LONG_STYLES: tuple[HairStyle, ...] = ("long", "bob", "updo", "long")
BACKDROPS: tuple[Backdrop, ...] = ("studio", "office", "wall", "outdoors")

# sRGB-like values from the lightest to the deepest skin.
SKIN_TONES = ((238, 204, 184), (228, 188, 162), (214, 168, 138), (192, 142, 110), (160, 112, 84), (122, 84, 64))
HAIR_TONES = ((28, 23, 22), (46, 34, 28), (74, 52, 38), (112, 80, 54), (168, 132, 88), (134, 70, 42), (150, 146, 142))
# Middle and spread of hues in radians (0 red, 2.1 green, 4.2 blue): rooms and clothes are mostly beige and blue.
HUES = ((0.6, 0.25), (3.9, 0.3), (2.0, 0.4), (0.0, 3.0))
HUE_SHARES = (0.45, 0.35, 0.1, 0.1)
IRIS_TONES = ((62, 40, 26), (84, 56, 34), (98, 84, 50), (84, 104, 84), (84, 112, 138))


@dataclass(frozen=True)
class Eyes:
    """Eyes and brows, in head units.

    Attributes:
        spacing: from the middle of the face to the middle of an eye.
        width: half the length of an eye.
        upper: height of the open upper lid, as a share of ``width``.
        lower: depth of the lower lid, as a share of ``width``.
        tilt: how far the outer corner stands above the inner one, as a share of ``width``.
        iris: colour of the iris.
        brow_height: of the middle of a brow above the eyes.
        brow_arch: how far a brow's middle stands above its ends.
        brow_thickness: half the thickness of a brow.
        brow_density: 0 (bare) to 1.
    """

    spacing: float
    width: float
    upper: float
    lower: float
    tilt: float
    iris: Colour
    brow_height: float
    brow_arch: float
    brow_thickness: float
    brow_density: float


@dataclass(frozen=True)
class Mouth:
    """Lips, in head units.

    Attributes:
        height: of the line between the lips below the eyes.
        width: half the length of the mouth.
        upper: thickness of the upper lip.
        lower: thickness of the lower lip.
        bow: depth of the notch of the upper lip, as a share of its thickness.
        colour: of the lips.
    """

    height: float
    width: float
    upper: float
    lower: float
    bow: float
    colour: Colour


@dataclass(frozen=True)
class Nose:
    """Nose, in head units: height of its base below the eyes, half its width, and how far bridge and tip stand out."""

    height: float
    width: float
    bridge: float
    tip: float


@dataclass(frozen=True)
class Skin:
    """Skin and what age and genes draw on it; all strengths from 0 to 1."""

    tone: Colour
    blotches: float
    freckles: float
    blush: float
    age: float
    gloss: float
    beard: float


@dataclass(frozen=True)
class Hair:
    """Hair: style, colour, height of the hairline above the eyes in head units, and waviness from 0 to 1."""

    style: HairStyle
    colour: Colour
    hairline: float
    waves: float


@dataclass(frozen=True)
class Light:
    """Light of a room.

    Attributes:
        direction: unit vector from the face to the key light (x to the right, y down, z to the camera).
        key: colour and strength of the key light.
        ambient: colour and strength of the light from everywhere.
    """

    direction: Colour
    key: Colour
    ambient: Colour


@dataclass(frozen=True)
class Room:
    """What surrounds a person.

    Attributes:
        backdrop: kind of background.
        colours: three colours of the background.
        cloth: colour of the clothes.
        collar: ``crew``, ``vee`` or ``shirt``.
        shirt: colour below a jacket or of a collar.
    """

    backdrop: Backdrop
    colours: tuple[Colour, Colour, Colour]
    cloth: Colour
    collar: Literal["crew", "vee", "shirt"]
    shirt: Colour


@dataclass(frozen=True)
class Camera:
    """Camera: blur of the lens in pixels (standard deviation), sensor noise in levels of 255, framing of the head.

    ``x`` and ``y`` place the head as shares of the frame, ``zoom`` scales it.
    """

    blur: float
    noise: float
    x: float
    y: float
    zoom: float


@dataclass(frozen=True)
class Person:
    """One person in one room before one camera; ``stream`` seeds everything random that is drawn of them."""

    number: int
    stream: tuple[int, ...]
    shape: HeadShape
    eyes: Eyes
    nose: Nose
    mouth: Mouth
    skin: Skin
    hair: Hair
    light: Light
    room: Room
    camera: Camera


def person(number: int, *, seed: int) -> Person:
    """Return the person called ``number``; ``number ^ 1`` is who they are swapped with."""
    shared = np.random.default_rng([seed, 1, number // 2])
    rng = np.random.default_rng([seed, 2, number])
    tone_at = float(shared.uniform(0.0, len(SKIN_TONES) - 1.0))
    long_hair = bool(shared.random() < 0.45)
    beard = float(shared.choice([0.0, 0.0, 0.35, 0.8])) if not long_hair else 0.0
    hair_at = float(shared.uniform(0.0, 3.0)) if tone_at > 2.5 else float(shared.uniform(0.0, len(HAIR_TONES) - 1.0))
    skin = _skin(rng, tone_at=tone_at, beard=beard)
    return Person(
        number=number,
        stream=(seed, 3, number),
        shape=_shape(rng, long_hair=long_hair),
        eyes=_eyes(rng, tone_at=tone_at, long_hair=long_hair),
        nose=Nose(
            height=_between(rng, 0.50, 0.60),
            width=_between(rng, 0.19, 0.25) + 0.012 * tone_at,
            bridge=_between(rng, 0.10, 0.17),
            tip=_between(rng, 0.16, 0.24),
        ),
        mouth=_mouth(rng, skin=skin, tone_at=tone_at, long_hair=long_hair),
        skin=skin,
        hair=Hair(
            style=_pick(rng, LONG_STYLES if long_hair else SHORT_STYLES),
            colour=_tone(HAIR_TONES, float(np.clip(hair_at + rng.uniform(-0.4, 0.4), 0.0, len(HAIR_TONES) - 1.0))),
            hairline=_between(rng, 0.78, 0.95),
            waves=_between(rng, 0.0, 1.0),
        ),
        light=_light(rng, tone_at=tone_at),
        room=_room(rng),
        camera=Camera(
            blur=_between(rng, 0.35, 0.6),
            noise=_between(rng, 1.6, 3.0),
            x=_between(rng, 0.44, 0.56),
            y=_between(rng, 0.44, 0.48),
            zoom=_between(rng, 0.95, 1.05),
        ),
    )


def _shape(rng: np.random.Generator, *, long_hair: bool) -> HeadShape:
    return HeadShape(
        top=_between(rng, 1.44, 1.58) + (0.05 if long_hair else 0.0),
        bottom=_between(rng, 1.40, 1.54),
        depth=_between(rng, 1.05, 1.2),
        jaw=_between(rng, 0.08, 0.16) if long_hair else _between(rng, 0.02, 0.11),
        crown=_between(rng, 0.05, 0.11),
    )


def _eyes(rng: np.random.Generator, *, tone_at: float, long_hair: bool) -> Eyes:
    iris_at = float(rng.uniform(0.0, 1.2 if tone_at > 2.0 else len(IRIS_TONES) - 1.0))
    return Eyes(
        spacing=_between(rng, 0.38, 0.43),
        width=_between(rng, 0.195, 0.23),
        upper=_between(rng, 0.40, 0.56),
        lower=_between(rng, 0.24, 0.34),
        tilt=_between(rng, -0.04, 0.16),
        iris=_tone(IRIS_TONES, iris_at),
        brow_height=_between(rng, 0.27, 0.33),
        brow_arch=_between(rng, 0.02, 0.07),
        brow_thickness=_between(rng, 0.028, 0.040) if long_hair else _between(rng, 0.036, 0.056),
        brow_density=_between(rng, 0.55, 0.95),
    )


def _mouth(rng: np.random.Generator, *, skin: Skin, tone_at: float, long_hair: bool) -> Mouth:
    red = np.array((0.64, 0.19, 0.16)) if long_hair and rng.random() < 0.5 else np.array((0.58, 0.26, 0.21))
    share = float(rng.uniform(0.55, 0.85)) if long_hair else float(rng.uniform(0.45, 0.65))
    colour = (1 - share) * np.array(skin.tone) + share * red * (0.35 + np.array(skin.tone).mean())
    return Mouth(
        height=_between(rng, 0.82, 0.90),
        width=_between(rng, 0.30, 0.37),
        upper=_between(rng, 0.060, 0.090) + 0.006 * tone_at,
        lower=_between(rng, 0.090, 0.125) + 0.006 * tone_at,
        bow=_between(rng, 0.1, 0.4),
        colour=_colour(colour),
    )


def _skin(rng: np.random.Generator, *, tone_at: float, beard: float) -> Skin:
    own = float(np.clip(tone_at + rng.uniform(-0.2, 0.2), 0.0, len(SKIN_TONES) - 1.0))
    return Skin(
        tone=_tone(SKIN_TONES, own),
        blotches=_between(rng, 0.3, 1.0),
        freckles=_between(rng, 0.0, 0.8) if own < 2.0 and rng.random() < 0.35 else 0.0,
        blush=_between(rng, 0.1, 0.8) * (1.0 - own / 8.0),
        age=_between(rng, 0.05, 0.9),
        gloss=_between(rng, 0.3, 1.0),
        beard=beard * _between(rng, 0.8, 1.0),
    )


def _light(rng: np.random.Generator, *, tone_at: float) -> Light:
    side = float(rng.choice([-1.0, 1.0])) * float(rng.uniform(0.15, 0.75))
    direction = np.array((side, -float(rng.uniform(0.25, 0.7)), 1.0))
    warmth = float(rng.uniform(-1.0, 1.0))
    exposure = 1.0 + 0.16 * tone_at  # cameras expose for the face
    key = exposure * float(rng.uniform(0.72, 0.88)) * np.array((1 + 0.06 * warmth, 1.0, 1 - 0.09 * warmth))
    ambient = exposure * float(rng.uniform(0.26, 0.38)) * np.array((1 - 0.04 * warmth, 1.0, 1 + 0.05 * warmth))
    return Light(direction=_colour(direction / np.linalg.norm(direction)), key=_colour(key), ambient=_colour(ambient))


def _room(rng: np.random.Generator) -> Room:
    return Room(
        backdrop=_pick(rng, BACKDROPS),
        colours=(_paint(rng, 0.35, 0.8), _paint(rng, 0.2, 0.8), _paint(rng, 0.3, 0.95)),
        cloth=_paint(rng, 0.12, 0.7),
        collar=_pick(rng, ("crew", "vee", "shirt")),
        shirt=_paint(rng, 0.5, 0.95, saturation=0.25),
    )


def _paint(rng: np.random.Generator, darkest: float, lightest: float, *, saturation: float = 0.3) -> Colour:
    """Draw a colour of moderate saturation: people and rooms are rarely neon."""
    value = float(rng.uniform(darkest, lightest))
    middle, spread = HUES[int(rng.choice(len(HUES), p=HUE_SHARES))]
    hue = float(rng.normal(middle, spread))
    tint = 1 + saturation * np.cos(hue - np.array((0.0, 2.09, 4.19))) * float(rng.uniform(0.2, 1.0))
    return _colour(np.clip(value * tint / tint.max(), 0.01, 1.0) ** 2)


def _tone(tones: tuple[tuple[int, int, int], ...], at: float) -> Colour:
    """Mix two neighbouring sRGB-like tones and return the linear colour."""
    low = min(int(at), len(tones) - 2)
    mixed = np.array(tones[low]) + (at - low) * (np.array(tones[low + 1]) - np.array(tones[low]))
    return _colour((mixed / 255.0) ** 2)


def _colour(values: np.ndarray) -> Colour:
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def _pick(rng: np.random.Generator, choices: tuple[Choice, ...]) -> Choice:
    return choices[int(rng.integers(len(choices)))]
