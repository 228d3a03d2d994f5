"""The two Xceptions: a face crop in, a logit and a probability of *manipulated* out.

``xception`` is the architecture of ``keras.applications`` (Chollet 2017, the detector of FaceForensics++): same
topology, layer names and order of weights, so that ImageNet weights fit. ``xception_notebook`` has the notebook's
filter counts; its defects are mended: every middle block owns its layers and adds its own input, shortcuts are linear,
and dropout and batch normalisation follow Keras' ``training`` argument instead of being on by default.

Nothing but Keras 3 layers: any of its backends can run the model.
"""

from dataclasses import dataclass
from pathlib import Path

import keras
from keras import layers

from deepfake_core import files
from deepfake_core.config import TrainConfig
from deepfake_core.errors import ConfigError, WeightsError

INPUT = "images"
LOGIT = "logit"
PROBABILITY = "probability"

IMAGENET_MIDDLE_BLOCKS = 8
CHANNEL_MULTIPLE = 8  # channels; narrowed layers keep to it because convolutions compute eight at a time


@dataclass(frozen=True)
class Filters:
    """Filter counts of an Xception at full width.

    Attributes:
        stem: of the two plain convolutions.
        entry: of the three blocks of the entry flow; the last one is also that of the middle flow.
        exit: of the second separable convolution of the block that ends the middle flow.
        top: of the last two separable convolutions.
    """

    stem: tuple[int, int]
    entry: tuple[int, int, int]
    exit: int
    top: tuple[int, int]


FILTERS = {
    "xception": Filters(stem=(32, 64), entry=(128, 256, 728), exit=1024, top=(1536, 2048)),
    "xception_notebook": Filters(stem=(32, 64), entry=(128, 256, 364), exit=512, top=(1024, 2048)),
}


def build_model(config: TrainConfig, *, size: int) -> keras.Model:
    """Build an Xception.

    Args:
        config: ``architecture``, ``width``, ``middle_blocks``, ``dropout``, ``batchnorm_momentum``, ``precision``,
            ``seed`` (of the initialisation and the dropout) and ``weights``.
        size: side of the square crop in pixels.

    Returns:
        A model from ``images`` (float32, (batch, size, size, 3), RGB, 0–255) to a dictionary of ``logit`` and
        ``probability``, both float32 of shape (batch, 1) whatever the precision inside.

    Raises:
        ConfigError: weights were given for another architecture than theirs, or without their digest.
        WeightsError: the weights file is missing, or not the one with that digest.
    """
    refuse_wrong_weights(config)
    parts = _Parts(config)
    images = keras.Input((size, size, 3), dtype="float32", name=INPUT)
    # The notebook rescaled outside of the model, differently in training and scoring; here it cannot be forgotten.
    pixels = layers.Rescaling(1 / 127.5, offset=-1.0, dtype="float32", name="rescale")(images)
    features = _backbone(pixels, parts, FILTERS[config.architecture], config.middle_blocks)
    if config.weights is not None:
        _load_imagenet(keras.Model(pixels, features), config.weights)
    pooled = layers.GlobalAveragePooling2D(name="pool", dtype=parts.policy)(features)
    dropped = layers.Dropout(config.dropout, seed=parts.next_seed(), name="dropout", dtype=parts.policy)(pooled)
    logit = layers.Dense(1, kernel_initializer=parts.initializer(), dtype="float32", name=LOGIT)(dropped)
    probability = layers.Activation("sigmoid", dtype="float32", name=PROBABILITY)(logit)
    return keras.Model(images, {LOGIT: logit, PROBABILITY: probability}, name=config.architecture)


class _Parts:
    """Makes the layers of one model: its width, precision, momentum, and a seed of its own for every kernel."""

    def __init__(self, config: TrainConfig) -> None:
        self.policy = keras.DTypePolicy(config.precision)
        self._width = config.width
        self._momentum = config.batchnorm_momentum
        self._seed = (config.seed or 0) * 1000

    def next_seed(self) -> int:
        self._seed += 1
        return self._seed

    def initializer(self) -> keras.Initializer:
        return keras.initializers.GlorotUniform(seed=self.next_seed())

    def channels(self, filters: int) -> int:
        if self._width == 1.0:
            return filters
        return max(CHANNEL_MULTIPLE, CHANNEL_MULTIPLE * round(filters * self._width / CHANNEL_MULTIPLE))

    def conv(self, filters: int, kernel: int, *, strides: int = 1, padding: str = "valid", name: str) -> layers.Layer:
        return layers.Conv2D(
            self.channels(filters),
            kernel,
            strides=strides,
            padding=padding,
            use_bias=False,
            kernel_initializer=self.initializer(),
            dtype=self.policy,
            name=name,
        )

    def sepconv(self, filters: int, *, name: str) -> layers.Layer:
        return layers.SeparableConv2D(
            self.channels(filters),
            3,
            padding="same",
            use_bias=False,
            depthwise_initializer=self.initializer(),
            pointwise_initializer=self.initializer(),
            dtype=self.policy,
            name=name,
        )

    def norm(self, *, name: str) -> layers.Layer:
        return layers.BatchNormalization(momentum=self._momentum, dtype=self.policy, name=name)

    def relu(self, *, name: str) -> layers.Layer:
        return layers.Activation("relu", dtype=self.policy, name=name)

    def pool(self, *, name: str) -> layers.Layer:
        return layers.MaxPooling2D(3, strides=2, padding="same", dtype=self.policy, name=name)

    def add(self, *, name: str) -> layers.Layer:
        return layers.Add(dtype=self.policy, name=name)


def _backbone(x: keras.KerasTensor, parts: _Parts, filters: Filters, middle_blocks: int) -> keras.KerasTensor:
    """From rescaled pixels to the last feature map; names and order of layers are those of keras.applications."""
    for number, count in enumerate(filters.stem, start=1):
        x = parts.conv(count, 3, strides=2 if number == 1 else 1, name=f"block1_conv{number}")(x)
        x = parts.norm(name=f"block1_conv{number}_bn")(x)
        x = parts.relu(name=f"block1_conv{number}_act")(x)
    for block, count in enumerate(filters.entry, start=2):
        x = _shrinking_block(x, parts, block, (count, count), first_relu=block > 2)
    for block in range(5, 5 + middle_blocks):
        x = _middle_block(x, parts, block, filters.entry[-1])
    last = 5 + middle_blocks
    x = _shrinking_block(x, parts, last, (filters.entry[-1], filters.exit), first_relu=True)
    for number, count in enumerate(filters.top, start=1):
        x = parts.sepconv(count, name=f"block{last + 1}_sepconv{number}")(x)
        x = parts.norm(name=f"block{last + 1}_sepconv{number}_bn")(x)
        x = parts.relu(name=f"block{last + 1}_sepconv{number}_act")(x)
    return x


def _shrinking_block(
    x: keras.KerasTensor, parts: _Parts, block: int, filters: tuple[int, int], *, first_relu: bool
) -> keras.KerasTensor:
    """Halve the side: two separable convolutions and a pooling, beside a linear shortcut."""
    name = f"block{block}"
    shortcut = parts.conv(filters[1], 1, strides=2, padding="same", name=f"{name}_shortcut")(x)
    shortcut = parts.norm(name=f"{name}_shortcut_bn")(shortcut)
    for number, count in enumerate(filters, start=1):
        if number > 1 or first_relu:
            x = parts.relu(name=f"{name}_sepconv{number}_act")(x)
        x = parts.sepconv(count, name=f"{name}_sepconv{number}")(x)
        x = parts.norm(name=f"{name}_sepconv{number}_bn")(x)
    x = parts.pool(name=f"{name}_pool")(x)
    return parts.add(name=f"{name}_add")([x, shortcut])


def _middle_block(x: keras.KerasTensor, parts: _Parts, block: int, filters: int) -> keras.KerasTensor:
    """Three separable convolutions of the block's own, added to the block's own input."""
    name, entered = f"block{block}", x
    for number in (1, 2, 3):
        x = parts.relu(name=f"{name}_sepconv{number}_act")(x)
        x = parts.sepconv(filters, name=f"{name}_sepconv{number}")(x)
        x = parts.norm(name=f"{name}_sepconv{number}_bn")(x)
    return parts.add(name=f"{name}_add")([x, entered])


def refuse_wrong_weights(config: TrainConfig) -> None:
    """Refuse ImageNet weights that do not fit the architecture, or whose file is not known to be the right one.

    Raises:
        ConfigError: they are for another architecture, or their digest is not given.
        WeightsError: the file is missing, or has another digest.
    """
    path = config.weights
    if path is None:
        return
    if (config.architecture, config.width, config.middle_blocks) != ("xception", 1.0, IMAGENET_MIDDLE_BLOCKS):
        message = (
            "train.weights fits the architecture 'xception' at width 1 with 8 middle blocks. Received: "
            f"{config.architecture!r} at width {config.width} with {config.middle_blocks}"
        )
        raise ConfigError(message)
    if not path.is_file():
        message = f"train.weights: there is no file {path}."
        raise WeightsError(message)
    digest = files.sha256_of_file(path)
    if config.weights_sha256 is None:
        message = f"train.weights needs train.weights_sha256 beside it. If you trust {path}, set it to {digest}."
        raise ConfigError(message)
    if digest != config.weights_sha256:
        message = f"{path} has SHA-256 {digest}, train.weights_sha256 asks for {config.weights_sha256}."
        raise WeightsError(message)


def _load_imagenet(backbone: keras.Model, path: Path) -> None:
    published = keras.applications.Xception(include_top=False, weights=str(path), input_shape=(None, None, 3))
    _copy_weights(published, backbone)


def _copy_weights(source: keras.Model, target: keras.Model) -> None:
    """Copy weights by layer name; the shortcuts, which keras.applications leaves unnamed, in their order."""
    named = {layer.name: layer for layer in source.layers if layer.weights}
    shortcuts = iter([layer for name, layer in named.items() if not name.startswith("block")])
    for layer in target.layers:
        if layer.weights:
            origin = named.get(layer.name) or next(shortcuts)
            layer.set_weights(origin.get_weights())
