"""How a person moves: head pose and expression at every frame, smooth in time and drawn once a person."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deepfake_core.sample.features import Expression
from deepfake_core.sample.geometry import Pose
from deepfake_core.sample.people import Person

HEAD_UNIT = 0.222
"""Half the width of a head as a share of the frame's height: a face is about 150 pixels wide at 448 × 336."""

BLINK_SECONDS = 0.22


@dataclass(frozen=True)
class Moment:
    """One frame of a person's motion."""

    pose: Pose
    expression: Expression


def head_unit(person: Person, *, width: int, height: int) -> float:
    """Return how many pixels of a frame half the width of ``person``'s head is."""
    return HEAD_UNIT * min(height, 0.75 * width) * person.camera.zoom


def moments(person: Person, *, frames: int, fps: int, width: int, height: int) -> tuple[Moment, ...]:
    """Return what ``person`` does in each of ``frames`` frames of ``width`` × ``height`` pixels."""
    rng = np.random.default_rng([*person.stream, 2])
    seconds = np.arange(frames, dtype=np.float64) / fps
    unit = head_unit(person, width=width, height=height)
    x = person.camera.x * width + unit * _sway(rng, seconds, 0.10, slowest=0.3)
    y = person.camera.y * height + unit * _sway(rng, seconds, 0.04, slowest=0.4)
    zoom = 1.0 + _sway(rng, seconds, 0.012, slowest=0.3)
    yaw = rng.uniform(-0.22, 0.22) + _sway(rng, seconds, 0.10, slowest=0.4)
    pitch = rng.uniform(-0.07, 0.09) + _sway(rng, seconds, 0.06, slowest=0.5)
    roll = rng.uniform(-0.05, 0.05) + _sway(rng, seconds, 0.035, slowest=0.4)
    opening = _speech(rng, seconds)
    smile = np.clip(rng.uniform(-0.3, 0.8) + _sway(rng, seconds, 0.25, slowest=0.5), -1, 1)
    blink = _blinks(rng, seconds)
    gaze_x = np.clip(-2.0 * yaw + rng.uniform(-0.3, 0.3) + _sway(rng, seconds, 0.15, slowest=0.6), -1, 1)
    gaze_y = np.clip(-2.0 * pitch + rng.uniform(-0.2, 0.3), -1, 1)
    return tuple(
        Moment(
            Pose(*(float(values[i]) for values in (x, y, unit * zoom, yaw, pitch, roll))),
            Expression(float(opening[i]), float(smile[i]), float(blink[i]), (float(gaze_x[i]), float(gaze_y[i]))),
        )
        for i in range(frames)
    )


def _sway(
    rng: np.random.Generator, seconds: npt.NDArray[np.float64], reach: float, *, slowest: float
) -> npt.NDArray[np.float64]:
    """Return a slow wander within about ``reach`` of zero; ``slowest`` is its lowest frequency in hertz."""
    total = np.zeros_like(seconds)
    for octave in range(3):
        frequency = slowest * 2**octave * rng.uniform(0.8, 1.25)
        total += np.sin(2 * np.pi * (frequency * seconds + rng.uniform())) * rng.uniform(0.5, 1.0) * 0.5**octave
    return np.asarray(total * reach / 1.3, dtype=np.float64)


def _speech(rng: np.random.Generator, seconds: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return how far the mouth is open: syllables at 3 to 6 hertz under the melody of a sentence."""
    syllables = np.sin(2 * np.pi * (rng.uniform(3.0, 4.5) * seconds + rng.uniform()))
    syllables += 0.6 * np.sin(2 * np.pi * (rng.uniform(4.5, 6.5) * seconds + rng.uniform()))
    melody = 0.7 + 0.3 * np.sin(2 * np.pi * (rng.uniform(0.5, 1.0) * seconds + rng.uniform()))
    return np.asarray(np.clip(rng.uniform(0.15, 0.3) + 0.33 * syllables * melody, 0.0, 1.0) * rng.uniform(0.7, 1.0))


def _blinks(rng: np.random.Generator, seconds: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return how far the eyes are closed; people blink every two to five seconds."""
    closed = np.zeros_like(seconds)
    at = rng.uniform(-0.5, 2.0)
    while at < seconds[-1] + BLINK_SECONDS:
        closed = np.maximum(closed, np.clip(1.25 - np.abs(seconds - at) / (0.5 * BLINK_SECONDS), 0.0, 1.0))
        at += rng.uniform(2.0, 5.0)
    return closed
