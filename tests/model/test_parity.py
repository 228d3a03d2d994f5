"""Parity is proved where the model is undecided, too, and a graph that computes something else is refused."""

import numpy as np
import pytest

from deepfake_core.aggregation import sigmoid
from deepfake_core.errors import ParityError
from deepfake_core.model.parity import BINS, blend_into_gaps, prove_parity, spread, tenths


def brightness_logits(crops: np.ndarray) -> np.ndarray:
    """Score crops by their brightness: black −6, white +6."""
    return (crops.astype(np.float32).mean(axis=(1, 2, 3)) / 255 * 12 - 6).astype(np.float32)


def grey(*levels: int) -> np.ndarray:
    return np.stack([np.full((8, 8, 3), level, np.uint8) for level in levels])


def test_crops_spread_over_the_probabilities_between_the_extremes():
    logits = np.random.default_rng(0).normal(0, 4, 5000)

    chosen = spread(logits, count=64)

    probabilities = sigmoid(logits[chosen])
    assert len(set(chosen)) == 64
    assert chosen == sorted(chosen)
    assert tenths(probabilities) == set(range(BINS))
    assert {int(np.argmin(logits)), int(np.argmax(logits))} <= set(chosen)


def test_few_crops_are_all_taken():
    assert spread(np.arange(10.0), count=64) == list(range(10))


def test_a_model_that_is_sure_of_every_face_gets_blends():
    crops = grey(0, 1, 2, 253, 254, 255)
    logits = brightness_logits(crops)

    blends = blend_into_gaps(crops, logits, logits_of=brightness_logits)

    assert not tenths(sigmoid(logits))
    reached = sigmoid(brightness_logits(blends))
    assert len(tenths(reached)) == len(blends) >= 4
    assert blends.dtype == np.uint8


def test_no_blends_where_real_crops_cover_everything():
    crops = grey(*range(256))

    assert len(blend_into_gaps(crops, brightness_logits(crops), logits_of=brightness_logits)) == 0


def test_agreement_is_reported_with_what_it_was_measured_on():
    crops = grey(*range(0, 256, 4))

    report = prove_parity(
        crops,
        expected=brightness_logits,
        exported=lambda crops: brightness_logits(crops) + np.float32(2e-4),
        allowed=1e-3,
    )

    assert report.crops == 64
    assert report.max_logit_difference == pytest.approx(2e-4, rel=0.01)
    assert report.max_probability_difference < 6e-5
    assert report.tenths_covered == BINS
    assert report.lowest_probability < 0.05
    assert report.highest_probability > 0.95
    assert not report.notes


@pytest.mark.parametrize("error", [2e-3, np.nan])
def test_one_crop_that_differs_is_refused(error):
    crops = grey(*range(64))

    def off(crops: np.ndarray) -> np.ndarray:
        logits = brightness_logits(crops)
        logits[17] += error
        return logits

    with pytest.raises(ParityError, match="on crop 17 of 64"):
        prove_parity(crops, expected=brightness_logits, exported=off, allowed=1e-3)


def test_a_narrow_model_is_noted():
    report = prove_parity(grey(126, 127, 128), expected=brightness_logits, exported=brightness_logits, allowed=1e-3)

    assert report.tenths_covered < BINS
    assert "probabilities reach" in report.notes[0]
