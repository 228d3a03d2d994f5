"""One face is followed, and a change to another one is counted."""

import pytest

from deepfake_core.faces.box import Box
from deepfake_core.faces.track import PATIENCE, FaceTrack


def face(left, side=40):
    return Box(left, 10, left + side, 10 + side, 0.9)


def follow(frames, main_face="track"):
    """Return the left edge and the track of the chosen face of each frame, and the jumps."""
    track, chosen = FaceTrack(main_face), []
    for boxes in frames:
        track, followed = track.choose(boxes)
        chosen.append(None if followed is None else (followed.box.x1, followed.track))
    return chosen, track.jumps


def test_the_largest_face_is_followed_even_when_another_grows_larger():
    frames = [[face(0, 40), face(200, 30)], [face(5, 40), face(200, 60)], [face(200, 80), face(10, 40)]]

    assert follow(frames) == ([(0, 0), (5, 0), (10, 0)], 0)


def test_the_notebooks_rule_jumps_between_people_and_the_jumps_are_counted():
    frames = [[face(0, 40), face(200, 30)], [face(5, 40), face(200, 60)], [face(200, 30), face(10, 40)]]

    assert follow(frames, "largest") == ([(0, 0), (200, 1), (10, 2)], 2)


def test_a_face_that_enters_late_is_followed_from_then_on():
    assert follow([[], [], [face(50)], [face(52)]]) == ([None, None, (50, 0), (52, 0)], 0)


def test_a_face_that_is_missed_for_a_moment_is_no_jump():
    assert follow([[face(50)], [], [], [face(55)]]) == ([(50, 0), None, None, (55, 0)], 0)


def test_a_lost_face_is_waited_for_before_another_one_is_followed():
    frames = [[face(0), face(200, 30)], *[[face(200, 30)]] * (PATIENCE + 2)]

    chosen, jumps = follow(frames)

    assert chosen == [(0, 0), *[None] * PATIENCE, (200, 1), (200, 1)]
    assert jumps == 1


def test_a_lost_face_that_comes_back_in_time_is_the_same():
    assert follow([[face(0)], [face(200)], [face(3)]]) == ([(0, 0), None, (3, 0)], 0)


@pytest.mark.parametrize("main_face", ["track", "largest"])
def test_looking_ahead_changes_nothing(main_face):
    track, _ = FaceTrack(main_face).choose([face(0)])

    ahead, there = track.choose([face(5)])

    assert track.last.box.x1 == 0
    assert ahead.last == there
