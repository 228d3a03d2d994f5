"""Every change keeps shape, type and range, does what it says, and does it again for the same seed."""

import cv2
import numpy as np
import pytest
import tensorflow as tf

from deepfake_core.config import AugmentConfig
from deepfake_core.model.augment import augment_crops

AMOUNTS = {
    "flip": 1.0,
    "rotate": 0.1,
    "zoom": 0.3,
    "translate": 0.2,
    "brightness": 0.3,
    "contrast": 0.5,
    "saturation": 0.9,
    "channel_gain": 0.3,
    "blur": 1.0,
    "downscale": 1.0,
    "jpeg": 1.0,
    "noise": 20.0,
}
SIZE = 24


@pytest.fixture(scope="module")
def crops() -> np.ndarray:
    """Return six crops with smooth colours under fine texture."""
    random = np.random.default_rng(0)
    coarse = random.integers(30, 226, (6, 4, 4, 3), dtype=np.uint8)
    smooth = np.stack([cv2.resize(crop, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR) for crop in coarse])
    return np.clip(smooth + random.integers(-25, 26, smooth.shape), 0, 255).astype(np.uint8)


@pytest.fixture
def change(crops, no_changes):
    """Return a function that applies only the named changes."""

    def apply(seed: int = 1, **amounts: float) -> np.ndarray:
        config = AugmentConfig.model_validate({**no_changes.model_dump(), **amounts})
        return augment_crops(tf.constant(crops), config=config, seed=tf.constant([seed, 7])).numpy()

    return apply


def roughness(pixels: np.ndarray) -> float:
    """Return the mean difference of neighbours: how much fine detail there is."""
    return float(np.abs(np.diff(pixels.astype(np.float32), axis=2)).mean())


def test_all_zeros_give_the_crops_back(change, crops):
    np.testing.assert_array_equal(change(), crops)


@pytest.mark.parametrize("name", AMOUNTS)
def test_every_change_keeps_shape_and_type_and_depends_on_the_seed_alone(change, crops, name):
    once, again = (change(seed=3, **{name: AMOUNTS[name]}) for _ in range(2))

    assert once.shape == crops.shape
    assert once.dtype == np.uint8
    np.testing.assert_array_equal(once, again)
    assert not np.array_equal(once, crops)
    if name != "flip":  # with a share of one all crops are mirrored, whatever the seed
        assert not np.array_equal(once, change(seed=4, **{name: AMOUNTS[name]}))


def test_a_change_draws_the_same_whichever_others_are_on(change):
    alone = change(brightness=0.1)
    with_mirrors = change(brightness=0.1, flip=1.0)

    np.testing.assert_array_equal(with_mirrors, alone[:, :, ::-1])


def test_a_flip_mirrors_left_to_right_about_that_share_of_the_crops(crops, no_changes):
    many = np.repeat(crops[:1], 400, axis=0)
    config = no_changes.model_copy(update={"flip": 0.25})

    changed = augment_crops(tf.constant(many), config=config, seed=tf.constant([0, 0])).numpy()

    mirrored = (changed == many[:, :, ::-1]).all(axis=(1, 2, 3))
    assert ((changed == many).all(axis=(1, 2, 3)) | mirrored).all()
    assert 0.17 < mirrored.mean() < 0.33


def test_a_shift_is_whole_pixels_and_costs_no_detail(change, crops):
    shifted = change(translate=0.2)

    limit = round(0.2 * SIZE)
    for before, after in zip(crops, shifted, strict=True):
        middle = after[limit:-limit, limit:-limit]
        places = [
            (down, right)
            for down in range(2 * limit + 1)
            for right in range(2 * limit + 1)
            if np.array_equal(before[down : down + middle.shape[0], right : right + middle.shape[1]], middle)
        ]
        assert len(places) == 1


def test_a_rotation_keeps_the_centre_in_its_place(no_changes):
    crop = np.zeros((1, 25, 25, 3), np.uint8)
    crop[:, 11:14, 11:14] = 255
    config = no_changes.model_copy(update={"rotate": 0.25})

    changed = augment_crops(tf.constant(crop), config=config, seed=tf.constant([1, 1])).numpy()

    rows, columns = np.nonzero(changed[0, :, :, 0] > 100)
    assert (rows.mean(), columns.mean()) == pytest.approx((12, 12), abs=0.3)


def test_a_zoom_goes_in_and_out_about_the_centre(no_changes):
    crops = np.zeros((64, 33, 33, 3), np.uint8)
    crops[:, 8:25, 8:25] = 255
    config = no_changes.model_copy(update={"zoom": 0.3})

    changed = augment_crops(tf.constant(crops), config=config, seed=tf.constant([1, 1])).numpy()

    area = (changed[..., 0] > 127).sum(axis=(1, 2)) / 17**2
    assert area.min() < 0.75
    assert area.max() > 1.5


def test_brightness_adds_the_same_to_every_pixel_of_a_crop(change, crops):
    difference = change(brightness=0.05).astype(int) - crops

    assert all(len(np.unique(crop)) <= 2 for crop in difference)  # one amount, rounded
    assert np.abs(difference).max() <= round(0.05 * 255)


def test_contrast_keeps_the_mean_and_changes_the_spread(change, crops):
    changed = change(contrast=0.3)

    np.testing.assert_allclose(changed.mean(axis=(1, 2)), crops.mean(axis=(1, 2)), atol=1.5)
    assert (np.abs(changed.std(axis=(1, 2)) / crops.std(axis=(1, 2)) - 1) > 0.01).any()


def test_saturation_keeps_the_luma(change, crops):
    luma = np.array([0.299, 0.587, 0.114])
    changed = change(saturation=0.2)
    free = ((changed > 0) & (changed < 255)).all(axis=-1)

    np.testing.assert_allclose((changed @ luma)[free], (crops @ luma)[free], atol=1.0)


def test_channel_gain_multiplies_each_channel_on_its_own(change, crops):
    gains = change(channel_gain=0.1).sum(axis=(1, 2)) / crops.sum(axis=(1, 2))

    assert np.abs(gains - 1).max() < 0.11
    assert (gains.std(axis=1) > 0.005).all()


@pytest.mark.parametrize("name", ["blur", "downscale"])
def test_optics_take_detail_away_and_keep_the_colours(change, crops, name):
    changed = change(**{name: 1.0})

    assert roughness(changed) < 0.8 * roughness(crops)
    np.testing.assert_allclose(changed.mean(axis=(1, 2)), crops.mean(axis=(1, 2)), atol=3)


def test_noise_adds_detail(change, crops):
    assert roughness(change(noise=30.0)) > 1.05 * roughness(crops)


def test_compression_hurts_more_at_a_lower_quality(change, crops):
    errors = [np.abs(change(jpeg=1.0, jpeg_quality=(q, q)).astype(int) - crops).mean() for q in (10, 50, 95)]

    assert errors[0] > errors[1] > errors[2] > 0


def test_a_share_leaves_the_other_crops_alone(crops, no_changes):
    many = np.repeat(crops, 30, axis=0)
    config = no_changes.model_copy(update={"jpeg": 0.5})

    changed = augment_crops(tf.constant(many), config=config, seed=tf.constant([2, 2])).numpy()

    untouched = (changed == many).all(axis=(1, 2, 3)).mean()
    assert 0.35 < untouched < 0.65


def test_it_runs_inside_a_pipeline_with_batches_of_any_length(crops):
    pipeline = (
        tf.data.Dataset.from_tensor_slices(crops)
        .batch(4)
        .map(lambda batch: augment_crops(batch, config=AugmentConfig(jpeg=0.5, blur=0.5), seed=tf.constant([0, 1])))
    )

    assert [batch.shape for batch in pipeline] == [(4, SIZE, SIZE, 3), (2, SIZE, SIZE, 3)]
