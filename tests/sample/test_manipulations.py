import numpy as np
import pytest

from deepfake_core.config import METHODS
from deepfake_core.sample.geometry import project
from deepfake_core.sample.manipulations import Shot, manipulate
from deepfake_core.sample.motion import moments
from deepfake_core.sample.people import person
from deepfake_core.sample.render import make_actor, render_frames

SIZE = {"width": 448, "height": 336}


@pytest.fixture(scope="module")
def shots():
    people = [person(number, seed=1) for number in (0, 1)]
    actors = [make_actor(one, **SIZE) for one in people]
    motions = [moments(one, frames=3, fps=5, **SIZE) for one in people]
    frames, surfaces = render_frames(actors[0], motions[0], **SIZE)
    return [Shot(*actors, *parts) for parts in zip(frames, *motions, surfaces, strict=True)]


def difference(shot, fake):
    return np.abs(fake.astype(np.int16) - shot.frame).max(axis=2)


@pytest.mark.parametrize("method", METHODS)
def test_a_fake_is_its_target_outside_the_face_to_the_last_bit_of_noise(shots, method):
    for shot, fake in zip(shots, manipulate(shots, method, seed=1), strict=True):
        changed = difference(shot, fake) > 0
        outside = np.ones_like(changed)
        outside[shot.surface.box.slices] = shot.surface.edge < 0
        assert not changed[outside].any()
        assert fake.dtype == np.uint8


@pytest.mark.parametrize("method", METHODS)
def test_every_manipulation_changes_the_mouth(shots, method):
    for shot, fake in zip(shots, manipulate(shots, method, seed=1), strict=True):
        target = shot.target.person
        x, y = project(target.shape, shot.moment.pose, 0.0, target.mouth.height)
        mouth = difference(shot, fake)[int(y) - 12 : int(y) + 12, int(x) - 20 : int(x) + 20]
        assert (mouth > 3).mean() > 0.4


@pytest.mark.parametrize(
    ("method", "touched"), [("Deepfakes", True), ("FaceSwap", True), ("Face2Face", True), ("NeuralTextures", False)]
)
def test_only_neural_textures_leaves_the_eyes_alone(shots, method, touched):
    shot, fake = shots[0], manipulate(shots, method, seed=1)[0]
    target = shot.target.person
    for side in (-1, 1):
        x, y = project(target.shape, shot.moment.pose, side * target.eyes.spacing, 0.0)
        eye = difference(shot, fake)[int(y) - 5 : int(y) + 5, int(x) - 10 : int(x) + 10]
        assert (eye > 0).any() == touched


def test_a_manipulation_is_drawn_from_its_name_alone(shots):
    again = manipulate(shots, "FaceSwap", seed=1)

    assert all(np.array_equal(*pair) for pair in zip(manipulate(shots, "FaceSwap", seed=1), again, strict=True))
    assert not np.array_equal(manipulate(shots, "FaceSwap", seed=2)[0], again[0])
