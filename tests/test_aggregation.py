"""Aggregation: from frames to a video, the same at evaluation and at scoring."""

import numpy as np
import pytest

from deepfake_core.aggregation import sigmoid, verdict, video_score


def test_each_rule_on_frames_that_tell_them_apart():
    logits = [-1.0, 0.0, 5.0]

    assert video_score(logits, how="mean_logit") == pytest.approx(1 / (1 + np.exp(-4 / 3)))
    assert video_score(logits, how="mean_probability") == pytest.approx(sigmoid(logits).mean())
    assert video_score(logits, how="median_probability") == pytest.approx(0.5)
    assert video_score(logits, how="vote") == pytest.approx(2 / 3)
    assert video_score(logits, how="vote", frame_threshold=0.6) == pytest.approx(1 / 3)


def test_no_face_is_not_half_a_fake():
    assert video_score([], how="mean_logit") is None
    assert verdict(None, threshold=0.5, faces=0, min_faces=1) == "undecidable"


def test_too_few_faces_are_undecidable_whatever_the_score():
    assert verdict(0.99, threshold=0.5, faces=2, min_faces=3) == "undecidable"
    assert verdict(0.99, threshold=0.5, faces=3, min_faces=3) == "manipulated"
    assert verdict(0.49, threshold=0.5, faces=3, min_faces=3) == "original"


def test_the_sigmoid_neither_overflows_nor_saturates_early():
    with np.errstate(all="raise", under="ignore"):
        values = sigmoid([-800.0, 0.0, 30.0])

    assert values[0] == 0.0
    assert values[1] == 0.5
    assert values[2] < 1.0
