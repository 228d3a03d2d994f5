"""Crops: proportions, borders, the notebook's stretch, and the JPEG round trip."""

import cv2
import numpy as np
import pytest

from deepfake_core.faces.box import Box
from deepfake_core.faces.crop import WholeImage, crop_face, crop_rectangle, decode_jpegs, encode_jpeg, sharpness_of
from deepfake_core.specs import FaceSpec

SQUARE = FaceSpec(size=64)
STRETCHED = FaceSpec(size=64, square=False, interpolation="linear")


def noise(height=120, width=160):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_a_square_crop_keeps_the_proportions_of_the_face():
    assert crop_rectangle(Box(40, 20, 80, 100), face=SQUARE, width=160, height=120) == (8, 8, 112, 112)


def test_a_square_that_leaves_the_frame_is_filled_with_its_border_and_keeps_its_scale():
    image = noise()
    box = Box(-20, -20, 60, 60)
    x1, y1, x2, y2 = crop_rectangle(box, face=SQUARE, width=160, height=120)
    assert (x1, y1) == (-32, -32)

    crop = crop_face(WholeImage(image), box, face=SQUARE)

    padded = np.pad(image, ((32, 0), (32, 0), (0, 0)), mode="edge")[: y2 - y1, : x2 - x1]
    np.testing.assert_array_equal(crop, cv2.resize(padded, (64, 64), interpolation=cv2.INTER_AREA))


def test_the_notebooks_crop_is_clipped_and_stretched():
    image = noise()
    box = Box(100.7, 10.2, 158.4, 110.9)

    crop = crop_face(WholeImage(image), box, face=STRETCHED)

    assert crop_rectangle(box, face=STRETCHED, width=160, height=120) == (92, 0, 160, 120)
    np.testing.assert_array_equal(crop, cv2.resize(image[0:120, 92:160], (64, 64)))


@pytest.mark.parametrize("face", [SQUARE, STRETCHED])
@pytest.mark.parametrize("box", [Box(159.5, 119.5, 400, 400), Box(-300, -300, 0.5, 0.5), Box(70.2, 60.1, 71.3, 61.2)])
def test_a_box_of_which_hardly_anything_is_in_the_frame_still_gives_a_crop(face, box):
    assert crop_face(WholeImage(noise()), box, face=face).shape == (64, 64, 3)


def test_blur_lowers_sharpness():
    crop = noise()

    assert sharpness_of(cv2.GaussianBlur(crop, (9, 9), 3)) < sharpness_of(crop) / 50
    assert sharpness_of(np.full((64, 64, 3), 90, np.uint8)) == 0.0


def test_a_jpeg_has_the_bytes_that_opencv_writes(tmp_path):
    crop = noise(64, 64)
    cv2.imwrite(str(tmp_path / "crop.jpg"), crop, [cv2.IMWRITE_JPEG_QUALITY, 95])

    assert encode_jpeg(crop, quality=95) == (tmp_path / "crop.jpg").read_bytes()


def test_decoded_crops_are_a_batch_in_rgb():
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 2] = 200  # BGR

    batch = decode_jpegs([encode_jpeg(red, quality=95), encode_jpeg(noise(64, 64), quality=95)])

    assert batch.shape == (2, 64, 64, 3)
    assert batch.dtype == np.uint8
    assert batch.flags.c_contiguous
    assert batch[0, 32, 32, 0] > 190
    assert batch[0, 32, 32, 2] < 10
    assert decode_jpegs([]).shape[0] == 0


def test_bytes_that_are_no_image_are_refused():
    with pytest.raises(ValueError, match="1 of 2 crops are no JPEG images"):
        decode_jpegs([encode_jpeg(noise(64, 64), quality=95), b"no image"])
