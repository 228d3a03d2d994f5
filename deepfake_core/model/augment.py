"""Random changes of training crops, a batch at a time.

Every change is a function of (crops, seed): the same seed gives the same crops, on any day and in any process, which
is what lets a killed training go on as if nothing had happened. Crops stay what scoring will feed the model: uint8,
RGB, 0–255. Changes run in the order in which they happen to a real video: pose, light, optics, sensor, compression.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from deepfake_core.config import AugmentConfig

BLUR_SIGMAS = (0.5, 1.5)  # pixels
BLUR_RADIUS = 3  # pixels; a Gaussian of the widest sigma has fallen to an eighth there
SHRINK = (0.4, 0.8)  # share of the side that a downscaled crop keeps
GREY = (0.299, 0.587, 0.114)  # weights of R, G and B in the luma of BT.601, as JPEG takes them


def augment_crops(crops: Any, *, config: AugmentConfig, seed: Any) -> Any:
    """Change a batch of crops at random.

    Args:
        crops: uint8 tensor (batch, size, size, 3), RGB.
        config: how much; an amount of zero leaves that change out, all zeros give the crops back as they are.
        seed: int32 tensor (2,) that decides everything.

    Returns:
        A uint8 tensor of the same shape.
    """
    steps = [step for step in _STEPS if step.wanted(config)]
    if not steps:
        return crops
    pixels = tf.cast(crops, tf.float32)
    for step in steps:
        own_seed = tf.random.experimental.stateless_fold_in(seed, step.number)
        pixels = tf.clip_by_value(step.apply(pixels, config, own_seed), 0.0, 255.0)
    return _to_levels(pixels)


class _Step:
    """One kind of change: the number keeps its random stream its own, whichever other changes are on."""

    def __init__(self, number: int, apply: Callable[..., Any], *amounts: str) -> None:
        self.number = number
        self.apply = apply
        self._amounts = amounts

    def wanted(self, config: AugmentConfig) -> bool:
        return any(getattr(config, amount) > 0 for amount in self._amounts)


# Pose -----------------------------------------------------------------------------------------------------------------


def _flip(pixels: Any, config: AugmentConfig, seed: Any) -> Any:
    mirrored = _chosen(pixels, config.flip, seed)[:, None, None, None]
    return tf.where(mirrored, tf.reverse(pixels, axis=[2]), pixels)


def _move(pixels: Any, config: AugmentConfig, seed: Any) -> Any:
    """Rotate, zoom and shift in one resampling about the centre; what comes in from outside is a reflection.

    Shifts are whole pixels: a crop that is only shifted keeps its finest detail, which is what a detector looks at.
    """
    count, size = tf.shape(pixels)[0], tf.shape(pixels)[1]
    side = tf.cast(size, tf.float32)
    rotate, zoom, right, down = tf.unstack(tf.random.stateless_uniform([4, count], seed, -1.0, 1.0))
    angle = rotate * (2 * 3.141592653589793 * config.rotate)
    scale = 1.0 + zoom * config.zoom
    right, down = (tf.round(shift * side * config.translate) for shift in (right, down))
    cosine, sine, centre = tf.cos(angle) * scale, tf.sin(angle) * scale, (side - 1.0) / 2.0
    zero = tf.zeros_like(angle)
    # Rows of the transform take an output pixel to the input pixel it shows.
    transforms = tf.stack(
        [
            cosine,
            -sine,
            centre - cosine * centre + sine * centre - right,
            sine,
            cosine,
            centre - sine * centre - cosine * centre - down,
            zero,
            zero,
        ],
        axis=1,
    )
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=pixels,
        transforms=transforms,
        output_shape=tf.stack([size, size]),
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="REFLECT",
    )


# Light ----------------------------------------------------------------------------------------------------------------


def _brightness(pixels: Any, config: AugmentConfig, seed: Any) -> Any:
    return pixels + _amounts(pixels, config.brightness * 255.0, seed)


def _contrast(pixels: Any, config: AugmentConfig, seed: Any) -> Any:
    mean = tf.reduce_mean(pixels, axis=[1, 2], keepdims=True)
    return mean + (pixels - mean) * (1.0 + _amounts(pixels, config.contrast, seed))


def _saturation(pixels: Any, config: AugmentConfig, seed: Any) -> Any:
    grey = tf.tensordot(pixels, tf.constant(GREY), axes=1)[..., None]
    return grey + (pixels - grey) * (1.0 + _amounts(pixels, config.saturation, seed))


def _channel_gain(pixels: Any, config: AugmentConfig, seed: Any) -> Any:
    return pixels * (1.0 + _amounts(pixels, config.channel_gain, seed, channels=3))


# Optics ---------------------------------------------------------------------------------------------------------------


def _blur(pixels: Any, config: AugmentConfig, seed: Any) -> Any:
    """Blur a share of the crops, all of the batch by one random Gaussian."""

    def blurred(crops: Any, seed: Any) -> Any:
        sigma = tf.random.stateless_uniform([], seed, *BLUR_SIGMAS)
        offsets = tf.range(-BLUR_RADIUS, BLUR_RADIUS + 1, dtype=tf.float32)
        weights = tf.nn.softmax(-tf.square(offsets) / (2.0 * tf.square(sigma)))
        edge = [BLUR_RADIUS, BLUR_RADIUS]
        crops = tf.pad(crops, [[0, 0], edge, edge, [0, 0]], mode="SYMMETRIC")
        for shape in ([-1, 1, 1, 1], [1, -1, 1, 1]):
            kernel = tf.tile(tf.reshape(weights, shape), [1, 1, 3, 1])
            crops = tf.nn.depthwise_conv2d(crops, kernel, strides=[1, 1, 1, 1], padding="VALID")
        return crops

    return _on_some(pixels, config.blur, seed, blurred)


def _downscale(pixels: Any, config: AugmentConfig, seed: Any) -> Any:
    """Shrink a share of the crops and enlarge them again, all of the batch by one random factor."""

    def coarsened(crops: Any, seed: Any) -> Any:
        size = tf.shape(crops)[1]
        keep = tf.random.stateless_uniform([], seed, *SHRINK)
        small = tf.maximum(tf.cast(tf.cast(size, tf.float32) * keep, tf.int32), 1)
        shrunk = tf.image.resize(crops, tf.stack([small, small]), method="bilinear", antialias=True)
        return tf.image.resize(shrunk, tf.stack([size, size]), method="bilinear")

    return _on_some(pixels, config.downscale, seed, coarsened)


# Sensor and compression -----------------------------------------------------------------------------------------------


def _noise(pixels: Any, config: AugmentConfig, seed: Any) -> Any:
    deviations = tf.abs(_amounts(pixels, config.noise, seed))
    return pixels + deviations * tf.random.stateless_normal(tf.shape(pixels), seed + 1)


def _jpeg(pixels: Any, config: AugmentConfig, seed: Any) -> Any:
    """Compress a share of the crops again, each at its own quality."""
    lowest, highest = sorted(config.jpeg_quality)

    def recompressed(crops: Any, seed: Any) -> Any:
        qualities = tf.random.stateless_uniform([tf.shape(crops)[0]], seed, lowest, highest + 1, dtype=tf.int32)

        def one(crop_and_quality: Any) -> Any:
            crop, quality = crop_and_quality
            data = tf.raw_ops.EncodeJpegVariableQuality(images=crop, quality=quality)
            # The same decoder settings as everywhere: bit-equal to OpenCV's.
            return tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE")

        signature = tf.TensorSpec([None, None, 3], tf.uint8)
        return tf.cast(tf.map_fn(one, (_to_levels(crops), qualities), fn_output_signature=signature), tf.float32)

    return _on_some(pixels, config.jpeg, seed, recompressed)


_STEPS = (
    _Step(1, _flip, "flip"),
    _Step(2, _move, "rotate", "zoom", "translate"),
    _Step(3, _brightness, "brightness"),
    _Step(4, _contrast, "contrast"),
    _Step(5, _saturation, "saturation"),
    _Step(6, _channel_gain, "channel_gain"),
    _Step(7, _blur, "blur"),
    _Step(8, _downscale, "downscale"),
    _Step(9, _noise, "noise"),
    _Step(10, _jpeg, "jpeg"),
)


# What the changes share -----------------------------------------------------------------------------------------------


def _chosen(pixels: Any, share: float, seed: Any) -> Any:
    """Return a bool tensor (batch,): which crops are changed."""
    return tf.random.stateless_uniform([tf.shape(pixels)[0]], seed) < share


def _amounts(pixels: Any, largest: float, seed: Any, *, channels: int = 1) -> Any:
    """Return amounts in ±``largest``, one a crop (and channel), shape (batch, 1, 1, channels)."""
    return tf.random.stateless_uniform([tf.shape(pixels)[0], 1, 1, channels], seed, -largest, largest)


def _on_some(pixels: Any, share: float, seed: Any, change: Callable[..., Any]) -> Any:
    """Change a share of the crops and pay only for those."""
    indices = tf.where(_chosen(pixels, share, seed))

    def changed() -> Any:
        return tf.tensor_scatter_nd_update(pixels, indices, change(tf.gather_nd(pixels, indices), seed + 1))

    return tf.cond(tf.size(indices) > 0, changed, lambda: pixels)


def _to_levels(pixels: Any) -> Any:
    return tf.cast(tf.round(pixels), tf.uint8)
