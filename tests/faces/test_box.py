"""Boxes: overlap, interpolation, and which of them are worth cropping."""

import math

import pytest

from deepfake_core.faces.box import Box, between, overlap, usable


def test_overlap_is_intersection_over_union():
    box = Box(0, 0, 10, 10)

    assert overlap(box, box) == 1.0
    assert overlap(box, Box(5, 0, 15, 10)) == pytest.approx(1 / 3)
    assert overlap(box, Box(10, 0, 20, 10)) == overlap(box, Box(30, 30, 40, 40)) == 0.0


def test_a_box_between_two_is_no_surer_than_the_less_sure_one():
    first = Box(0, 0, 10, 20, 0.9, tuple(range(10)))
    second = Box(8, 4, 18, 24, 0.7, tuple(range(4, 14)))

    middle = between(first, second, 0.25)

    assert middle == Box(2, 1, 12, 21, 0.7, tuple(value + 1.0 for value in range(10)))
    assert between(first, Box(8, 4, 18, 24), 0.5).landmarks is None


def test_scaling_moves_landmarks_with_the_box():
    box = Box(1, 2, 3, 4, 0.5, (1, 2, 3, 4, 5, 6, 7, 8, 9, 10))

    assert box.scaled(2, 10) == Box(2, 20, 6, 40, 0.5, (2, 20, 6, 40, 10, 60, 14, 80, 18, 100))


@pytest.mark.parametrize(
    "box",
    [
        Box(0, 0, 50, 50, 0.4),
        Box(0, 0, 50, 9, 0.9),
        Box(20, 20, 20, 60, 0.9),
        Box(0, 0, math.nan, 50, 0.9),
        Box(0, 0, math.inf, 50, 0.9),
        Box(200, 0, 250, 50, 0.9),
        Box(-80, 0, 0, 50, 0.9),
    ],
)
def test_unsure_small_broken_and_outside_boxes_are_dropped(box):
    good = Box(-5, -5, 50, 50, 0.9)

    assert usable([box, good], width=200, height=100, min_confidence=0.5, min_side=10) == [good]
