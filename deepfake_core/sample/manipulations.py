"""The four manipulations of FaceForensics++, in kind.

Each acts on the finished, noisy frames of the target's video and changes nothing outside the face, so that neither the
room nor the noise nor the camera tells a fake. What is synthesised comes from a generator of low resolution, as in the
real ones; how low is drawn once a video.

    Deepfakes        the source's inner face, low resolution, colours matched, soft edge
    FaceSwap         the source's inner face under the source's light, hard edge, colours half matched, not quite steady
    Face2Face        the target's face bent to the source's expression; eyes and mouth rendered anew, narrow seam
    NeuralTextures   the mouth region rendered anew with the source's speech, flatter
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from deepfake_core.config import METHODS
from deepfake_core.sample.geometry import JAW_LINE, Array, Box, Pose, Surface, project, smooth
from deepfake_core.sample.motion import Moment
from deepfake_core.sample.people import Light, Person
from deepfake_core.sample.render import Actor, Frame, develop, render_head

GENERATOR_SCALE = 0.5
"""Generated faces are rendered at this scale before they are brought down to their own resolution."""

LARGEST_MISMATCH = np.float32(1.1)
"""FaceSwap never leaves more than this factor between its colours and the target's."""


@dataclass(frozen=True)
class Shot:
    """One frame of a target that is to be manipulated.

    Attributes:
        target: who is seen.
        source: who drives the manipulation.
        frame: the finished original frame.
        moment: pose and expression of the target.
        driver: pose and expression of the source at the same time.
        surface: where the target's face is in the frame.
    """

    target: Actor
    source: Actor
    frame: Frame
    moment: Moment
    driver: Moment
    surface: Surface


@dataclass(frozen=True)
class Generated:
    """A generated face: display values (rows, columns, 3) float32, and how pixels of the frame find it.

    Attributes:
        pixels: from 0 to 255.
        box: what it covers, in pixels of a frame of ``GENERATOR_SCALE``.
        to_box: (2, 3) affine from frame coordinates to those of the small frame.
    """

    pixels: Array
    box: Box
    to_box: Array

    def coarsened(self) -> "Generated":
        """Return the face with the stair-steps of a texture that was looked up without smoothing."""
        return replace(self, pixels=cv2.resize(self.pixels, self.box.size, interpolation=cv2.INTER_NEAREST))


Manipulation = Callable[[Shot, np.random.Generator], Frame]


def manipulate(shots: list[Shot], method: str, *, seed: int) -> list[Frame]:
    """Return the frames of a manipulated video; everything that is drawn once a video depends on its name alone."""
    first = shots[0]
    stream = [seed, 5, METHODS.index(method), first.target.person.number, first.source.person.number]
    make = MAKERS[method](np.random.default_rng(stream))
    steps = np.random.default_rng([*stream, 1])
    return [make(shot, steps) for shot in shots]


def _deepfakes(rng: np.random.Generator) -> Manipulation:
    resolution = float(rng.uniform(0.21, 0.31))
    size = (float(rng.uniform(0.64, 0.72)), float(rng.uniform(0.84, 0.94)))

    def make(shot: Shot, _: np.random.Generator) -> Frame:
        face = _generate(
            shot, shot.source, shot.moment.pose, shot.moment, light=shot.target.person.light, resolution=resolution
        )
        layer = _enlarge(face, shot.surface.box, cv2.INTER_LINEAR)
        mask = smooth(1.08, 0.72, _radius(shot.surface, (0.0, 0.43), size))
        return _paste(shot, layer * _matching_gain(shot, layer, mask), mask)

    return make


def _faceswap(rng: np.random.Generator) -> Manipulation:
    resolution = float(rng.uniform(0.25, 0.36))
    size = (float(rng.uniform(0.62, 0.70)), float(rng.uniform(0.80, 0.90)))
    kept = float(rng.uniform(0.4, 0.7))
    mismatch = np.exp(rng.normal(0.0, 0.02, 3) + rng.choice([-1.0, 1.0]) * rng.uniform(0.02, 0.06)).astype(np.float32)

    def make(shot: Shot, steps: np.random.Generator) -> Frame:
        pose = shot.moment.pose
        shake = steps.normal(0.0, 1.0, 5)
        pose = replace(
            pose,
            x=pose.x + 0.008 * pose.unit * float(shake[0]),
            y=pose.y + 0.008 * pose.unit * float(shake[1]),
            yaw=pose.yaw + 0.03 * float(shake[2]),
            pitch=pose.pitch + 0.02 * float(shake[3]),
            roll=pose.roll + 0.012 * float(shake[4]),
        )
        face = _generate(shot, shot.source, pose, shot.moment, light=shot.source.person.light, resolution=resolution)
        layer = _enlarge(face.coarsened(), shot.surface.box, cv2.INTER_LINEAR)
        mask = smooth(1.03, 0.97, _radius(shot.surface, (0.0, 0.43), size))
        match = _matching_gain(shot, layer, mask)
        rest = np.clip(match ** np.float32(-kept), 1 / LARGEST_MISMATCH, LARGEST_MISMATCH)
        return _paste(shot, layer * match * rest * mismatch, mask)

    return make


def _face2face(rng: np.random.Generator) -> Manipulation:
    resolution = float(rng.uniform(0.25, 0.36))

    def make(shot: Shot, _: np.random.Generator) -> Frame:
        acted = _acted(shot)
        face = _generate(
            shot, shot.target, shot.moment.pose, acted, light=shot.target.person.light, resolution=resolution
        )
        layer = _enlarge(face, shot.surface.box, cv2.INTER_LINEAR)
        person = shot.target.person
        mouth = _radius(shot.surface, (0.0, person.mouth.height + 0.05), (person.mouth.width + 0.16, 0.32))
        eyes = _radius(shot.surface, (person.eyes.spacing, -0.03), (0.34, 0.25), mirrored=True)
        mask = smooth(1.05, 0.90, np.minimum(mouth, eyes))
        return _paste(replace(shot, frame=_bent(shot, acted)), layer, mask)

    return make


def _neural_textures(rng: np.random.Generator) -> Manipulation:
    resolution = float(rng.uniform(0.20, 0.29))
    contrast = float(rng.uniform(0.78, 0.90))

    def make(shot: Shot, _: np.random.Generator) -> Frame:
        acted = _acted(shot)
        speech = replace(
            shot.moment,
            expression=replace(shot.moment.expression, opening=acted.expression.opening, smile=acted.expression.smile),
        )
        face = _generate(
            shot, shot.target, shot.moment.pose, speech, light=shot.target.person.light, resolution=resolution
        )
        layer = _enlarge(face, shot.surface.box, cv2.INTER_LINEAR)
        person = shot.target.person
        mask = smooth(
            1.10, 0.80, _radius(shot.surface, (0.0, person.mouth.height + 0.06), (person.mouth.width + 0.22, 0.42))
        )
        middle = _mean_inside(layer, mask)
        return _paste(replace(shot, frame=_bent(shot, speech)), middle + contrast * (layer - middle), mask)

    return make


MAKERS: dict[str, Callable[[np.random.Generator], Manipulation]] = {
    "Deepfakes": _deepfakes,
    "Face2Face": _face2face,
    "FaceSwap": _faceswap,
    "NeuralTextures": _neural_textures,
}


def _acted(shot: Shot) -> Moment:
    """Return the target's moment with the source's expression."""
    return replace(shot.moment, expression=replace(shot.driver.expression, gaze=shot.moment.expression.gaze))


def _generate(shot: Shot, actor: Actor, pose: Pose, moment: Moment, *, light: Light, resolution: float) -> Generated:
    """Render ``actor``'s face in place of the target's, at ``resolution`` as a share of the frame's."""
    height, width = shot.frame.shape[:2]
    small = pose.scaled(GENERATOR_SCALE)
    head = render_head(
        actor,
        small,
        moment.expression,
        light=light,
        width=round(width * GENERATOR_SCALE),
        height=round(height * GENERATOR_SCALE),
        coarse=True,
    )
    wide, tall = head.surface.box.size
    share = resolution / GENERATOR_SCALE
    size = (max(round(wide * share), 8), max(round(tall * share), 8))
    pixels = cv2.resize(develop(head.colour), size, interpolation=cv2.INTER_AREA)
    to_box = cv2.getAffineTransform(_anchors(shot.target.person, shot.moment.pose), _anchors(actor.person, small))
    return Generated(pixels, head.surface.box, to_box)


def _anchors(person: Person, pose: Pose) -> Array:
    """Return the pixels of both eyes and the mouth, (3, 2) float32: swapped faces are fitted on these."""
    points = ((-person.eyes.spacing, 0.0), (person.eyes.spacing, 0.0), (0.0, person.mouth.height))
    return np.array([project(person.shape, pose, x, y) for x, y in points], dtype=np.float32)


def _enlarge(face: Generated, box: Box, interpolation: int) -> Array:
    """Resample a generated face to the rectangle ``box`` of the frame, (rows, columns, 3) float32."""
    wide, tall = face.box.size
    scale = np.array([face.pixels.shape[1] / wide, face.pixels.shape[0] / tall])
    linear = face.to_box[:, :2]
    corner = np.array([box.left + 0.5, box.top + 0.5])
    offset = linear @ corner + face.to_box[:, 2] - np.array([face.box.left, face.box.top])
    matrix = np.hstack([linear * scale[:, None], (offset * scale - 0.5)[:, None]])
    layer: Array = cv2.warpAffine(
        face.pixels, matrix, box.size, flags=interpolation | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
    )
    return layer


def _radius(surface: Surface, at: tuple[float, float], size: tuple[float, float], *, mirrored: bool = False) -> Array:
    """Return the distance from ``at`` in face coordinates, 1 on the ellipse of radii ``size``."""
    x = np.abs(surface.x) if mirrored else surface.x
    return np.sqrt(((x - at[0]) / size[0]) ** 2 + ((surface.y - at[1]) / size[1]) ** 2)


def _mean_inside(pixels: Array, mask: Array) -> Array:
    return np.asarray(np.tensordot(mask, pixels, axes=([0, 1], [0, 1])) / max(float(mask.sum()), 1.0), np.float32)


def _matching_gain(shot: Shot, layer: Array, mask: Array) -> Array:
    """Return the gain of each channel that gives ``layer`` the mean colour of the frame inside ``mask``."""
    there = _mean_inside(shot.frame[shot.surface.box.slices].astype(np.float32), mask)
    return np.clip(there / np.maximum(_mean_inside(layer, mask), 1.0), 0.4, 2.5).astype(np.float32)


def _bent(shot: Shot, acted: Moment) -> Frame:
    """Return the frame with chin and cheeks moved to where the acted expression has them."""
    drop = acted.expression.jaw_drop - shot.moment.expression.jaw_drop
    surface = shot.surface
    face = smooth(1.15, 0.75, _radius(surface, (0.0, 0.6), (0.85, 1.0)))
    shift = drop * shot.moment.pose.unit * smooth(JAW_LINE[0] - 0.3, JAW_LINE[1], surface.y) * face
    rows, columns = shift.shape
    grid_x = np.repeat(np.arange(columns, dtype=np.float32)[None, :], rows, axis=0)
    grid_y = np.repeat(np.arange(rows, dtype=np.float32)[:, None], columns, axis=1) - shift
    frame = shot.frame.copy()
    window = surface.box.slices
    frame[window] = cv2.remap(shot.frame[window], grid_x, grid_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return frame


def _paste(shot: Shot, layer: Array, mask: Array) -> Frame:
    """Blend ``layer`` into the frame where ``mask`` is."""
    frame = shot.frame.copy()
    window = shot.surface.box.slices
    there = frame[window].astype(np.float32)
    frame[window] = np.clip(there + mask[..., None] * (layer - there) + 0.5, 0.0, 255.0).astype(np.uint8)
    return frame
