"""From a person and a moment to pixels.

A head is found by casting rays (``geometry``), takes its colours from painted maps (``textures``, ``features``), is lit
and laid over its scene. Noise of the sensor is drawn last and once: whatever is made of a frame shares it.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from deepfake_core.sample.features import Expression, paint_expression
from deepfake_core.sample.geometry import Array, Pose, Surface, cast, smooth
from deepfake_core.sample.motion import Moment
from deepfake_core.sample.people import Light, Person
from deepfake_core.sample.scene import BEHIND_REACH, Scene, paint_scene
from deepfake_core.sample.textures import Textures, paint_textures

Frame = npt.NDArray[np.uint8]
"""(height, width, 3), RGB."""

WRAP = np.array((0.34, 0.22, 0.17), np.float32)
"""How far light creeps round an edge, by colour: skin lets red through."""


@dataclass(frozen=True)
class Actor:
    """A person with everything that is painted once: maps of the head at full and at half size, and the scene."""

    person: Person
    textures: Textures
    coarse: Textures
    scene: Scene


@dataclass(frozen=True)
class Head:
    """A head in its frame.

    Attributes:
        colour: (rows, columns, 3) float32, linear light, of the rectangle ``surface.box``.
        coverage: (rows, columns) float32, 0 to 1.
        surface: where the camera sees which part of the face.
    """

    colour: Array
    coverage: Array
    surface: Surface


def make_actor(person: Person, *, width: int, height: int) -> Actor:
    """Paint everything of ``person`` that does not move."""
    textures = paint_textures(person)
    return Actor(person, textures, textures.halved(), paint_scene(person, width=width, height=height))


def render_head(
    actor: Actor, pose: Pose, expression: Expression, *, light: Light, width: int, height: int, coarse: bool = False
) -> Head:
    """Render a head alone.

    Args:
        actor: whose head.
        pose: in pixels of a frame of ``width`` × ``height``.
        expression: of the face.
        light: that falls on it.
        width: of the frame.
        height: of the frame.
        coarse: take the maps of half size, for heads that end up at low resolution.
    """
    textures = paint_expression(actor.coarse if coarse else actor.textures, actor.person, expression)
    surface = cast(actor.person.shape, pose, jaw_drop=expression.jaw_drop, width=width, height=height)
    scale, half = textures.texels_per_unit, textures.colour.shape[0] / 2 - 0.5
    columns = surface.x * scale + half
    rows = surface.y * (scale / textures.bottom) + half
    colour = cv2.remap(textures.colour, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    normals = cv2.remap(textures.surface, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    lit = _shade(colour[..., :3], normals, pose, light)
    softness = 0.7 + 1.6 * colour[..., 3]
    return Head(lit, smooth(-1.0, 1.0, surface.edge / softness), surface)


def render_frames(
    actor: Actor, moments: tuple[Moment, ...], *, width: int, height: int
) -> tuple[list[Frame], list[Surface]]:
    """Render the original video of ``actor``: finished, noisy frames, and where the face is in each of them."""
    rng = np.random.default_rng([*actor.person.stream, 4])
    frames, surfaces = [], []
    for moment in moments:
        head = render_head(actor, moment.pose, moment.expression, light=actor.person.light, width=width, height=height)
        picture = _compose(actor, moment.pose, head)
        frames.append(expose(picture, blur=actor.person.camera.blur, noise=actor.person.camera.noise, rng=rng))
        surfaces.append(head.surface)
    return frames, surfaces


def develop(linear: Array) -> Array:
    """Return linear light as display values from 0 to 255, float32, with a soft shoulder for highlights."""
    bent = linear / (1.0 + 0.18 * linear * linear)
    return np.sqrt(np.clip(bent, 0.0, 1.0)) * np.float32(255.0)


def expose(linear: Array, *, blur: float, noise: float, rng: np.random.Generator) -> Frame:
    """Return what the sensor records of ``linear`` light (height, width, 3): blurred by the lens, noisy, 8 bits."""
    shown = cv2.GaussianBlur(develop(linear), (0, 0), blur)
    height, width = shown.shape[:2]
    luma = rng.standard_normal((height, width), dtype=np.float32)
    chroma = rng.standard_normal((height // 2, width // 2, 3), dtype=np.float32)
    chroma = cv2.resize(chroma, (width, height), interpolation=cv2.INTER_LINEAR)
    shown += np.float32(noise) * (luma[..., None] + 0.6 * chroma)
    return np.asarray(np.clip(shown + 0.5, 0.0, 255.0), dtype=np.uint8)


def _shade(albedo: Array, normals: Array, pose: Pose, light: Light) -> Array:
    """Return the light (rows, columns, 3) that comes back from a surface; normals[..., 3] is its gloss."""
    to_head = pose.rotation().T
    key = (to_head @ np.asarray(light.direction)).astype(np.float32)
    view = to_head[:, 2].astype(np.float32)
    middle = (key + view) / np.float32(np.linalg.norm(key + view))
    up = -to_head[:, 1].astype(np.float32)
    directions = normals[..., :3] @ np.stack([key, middle, up], axis=1)
    facing = np.clip((directions[..., :1] + WRAP) / (1.0 + WRAP), 0.0, 1.0)
    sky = 0.72 + 0.28 * directions[..., 2:3]
    radiance = facing * np.asarray(light.key, np.float32) + sky * np.asarray(light.ambient, np.float32)
    shine = np.maximum(directions[..., 1], 0.0)
    for _ in range(4):  # to the 16th power
        shine = shine * shine
    lit: Array = albedo * radiance
    lit += (0.085 * shine * normals[..., 3])[..., None] * np.asarray(light.key, np.float32)
    return lit


def _compose(actor: Actor, pose: Pose, head: Head) -> Array:
    """Lay the layers of a frame over each other, linear light (height, width, 3)."""
    scene = actor.scene
    height, width = scene.room.shape[:2]
    move = np.array([[1, 0, 0.5 * (pose.x - scene.rest[0])], [0, 1, 0.5 * (pose.y - scene.rest[1])]], np.float32)
    body = cv2.warpAffine(scene.body, move, (width, height), borderMode=cv2.BORDER_REPLICATE)
    picture: Array = scene.room * (1.0 - body[..., 3:]) + body[..., :3]
    _lay_behind(picture, scene.behind, pose)
    window = head.surface.box.slices
    picture[window] += head.coverage[..., None] * (head.colour - picture[window])
    return picture


def _lay_behind(picture: Array, behind: Array, pose: Pose) -> None:
    height, width = picture.shape[:2]
    scale = 2 * BEHIND_REACH * pose.unit / behind.shape[0]
    cos, sin, half = scale * np.cos(pose.roll), scale * np.sin(pose.roll), behind.shape[0] / 2
    # a head that turns shows less of the hair behind it on the side it turns to
    x, y = pose.x - 0.25 * pose.unit * np.sin(pose.yaw), pose.y
    move = np.array([[cos, -sin, x - cos * half + sin * half], [sin, cos, y - sin * half - cos * half]])
    layer = cv2.warpAffine(behind, move, (width, height))
    picture *= 1.0 - layer[..., 3:]
    picture += layer[..., :3]
