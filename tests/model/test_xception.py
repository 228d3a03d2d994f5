"""What goes into a model, what comes out, and that its layers are the right ones."""

import keras
import numpy as np
import pytest

from deepfake_core import files
from deepfake_core.config import TrainConfig
from deepfake_core.errors import ConfigError, WeightsError
from deepfake_core.model.xception import build_model

SIZE = 40


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def imagenet_like(tmp_path_factory) -> tuple[keras.Model, TrainConfig]:
    """Return the published architecture with random weights, and the configuration that takes them from a file."""
    published = keras.applications.Xception(include_top=False, weights=None, input_shape=(None, None, 3))
    path = tmp_path_factory.mktemp("imagenet") / "xception.weights.h5"
    published.save_weights(path)
    return published, TrainConfig(weights=path, weights_sha256=files.sha256_of_file(path))


@pytest.mark.parametrize("architecture", ["xception", "xception_notebook"])
def test_a_model_gives_logit_and_probability_of_each_crop(architecture, pixels):
    model = build_model(TrainConfig(architecture=architecture, width=0.125, middle_blocks=1), size=SIZE)

    outputs = model(pixels, training=False)

    assert set(outputs) == {"logit", "probability"}
    logit, probability = np.asarray(outputs["logit"]), np.asarray(outputs["probability"])
    assert logit.shape == probability.shape == (3, 1)
    np.testing.assert_allclose(probability, 1 / (1 + np.exp(-logit)), atol=1e-6)
    assert model.input.name == "images"


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_outputs_and_weights_are_float32_whatever_the_precision_inside(precision, pixels):
    config = TrainConfig(width=0.125, middle_blocks=1, precision=precision)
    model = build_model(config, size=SIZE)

    outputs = model(pixels, training=False)

    assert {keras.backend.standardize_dtype(output.dtype) for output in outputs.values()} == {"float32"}
    assert {weight.dtype for weight in model.weights} == {"float32"}
    assert model.get_layer("block2_sepconv1").compute_dtype == precision.removeprefix("mixed_")
    exact = build_model(config.model_copy(update={"precision": "float32"}), size=SIZE)
    exact.set_weights(model.get_weights())
    np.testing.assert_allclose(outputs["logit"], exact(pixels, training=False)["logit"], atol=0.05)


def test_it_is_the_published_xception_with_its_weights(imagenet_like, pixels):
    published, config = imagenet_like
    model = build_model(config, size=SIZE)

    features = keras.Model(model.input, model.get_layer("block14_sepconv2_act").output)

    scaled = keras.applications.xception.preprocess_input(pixels.copy())
    np.testing.assert_allclose(features(pixels), published(scaled), atol=1e-5)


def test_weights_are_refused_without_or_with_another_digest(imagenet_like, tmp_path):
    _, config = imagenet_like

    with pytest.raises(ConfigError, match=f"set it to {config.weights_sha256}"):
        build_model(config.model_copy(update={"weights_sha256": None}), size=SIZE)
    with pytest.raises(WeightsError, match="asks for 0000"):
        build_model(config.model_copy(update={"weights_sha256": "0" * 64}), size=SIZE)
    with pytest.raises(WeightsError, match="no file"):
        build_model(config.model_copy(update={"weights": tmp_path / "none.h5"}), size=SIZE)


def test_weights_are_refused_by_an_architecture_that_they_do_not_fit(imagenet_like):
    _, config = imagenet_like

    for other in ({"width": 0.5}, {"middle_blocks": 2}, {"architecture": "xception_notebook"}):
        with pytest.raises(ConfigError, match="fits the architecture 'xception' at width 1 with 8 middle blocks"):
            build_model(config.model_copy(update=other), size=SIZE)


def test_the_notebooks_filters_at_full_width():
    model = build_model(TrainConfig(architecture="xception_notebook"), size=SIZE)

    names = (
        "block1_conv1", "block1_conv2", "block2_sepconv2", "block3_sepconv2", "block4_sepconv2", "block13_sepconv2",
        "block14_sepconv1", "block14_sepconv2",
    )  # fmt: skip
    assert [model.get_layer(name).output.shape[-1] for name in names] == [32, 64, 128, 256, 364, 512, 1024, 2048]


def test_every_middle_block_owns_its_layers_and_adds_its_own_input():
    model = build_model(TrainConfig(architecture="xception_notebook", width=0.125, middle_blocks=3), size=SIZE)

    for block in (5, 6, 7):
        kernels = [model.get_layer(f"block{block}_sepconv{number}") for number in (1, 2, 3)]
        assert len({id(layer) for layer in kernels}) == 3
        entered = model.get_layer(f"block{block}_sepconv1_act").input
        branch, shortcut = model.get_layer(f"block{block}_add").input
        assert shortcut is entered
        assert branch is model.get_layer(f"block{block}_sepconv3_bn").output
        assert entered is model.get_layer(f"block{block - 1}_add").output


def test_shortcuts_are_linear():
    model = build_model(TrainConfig(architecture="xception_notebook", width=0.125, middle_blocks=0), size=SIZE)

    for block in (2, 3, 4, 5):
        assert model.get_layer(f"block{block}_add").input[1] is model.get_layer(f"block{block}_shortcut_bn").output


def test_a_model_scores_the_same_twice_and_drops_out_only_in_training(pixels):
    model = build_model(TrainConfig(width=0.125, middle_blocks=0, dropout=0.5), size=SIZE)

    scores = [np.asarray(model(pixels)["logit"]) for _ in range(2)]

    np.testing.assert_array_equal(scores[0], scores[1])
    assert not np.array_equal(scores[0], np.asarray(model(pixels, training=True)["logit"]))


def test_the_seed_decides_the_initialisation(pixels):
    first, again, other = (
        build_model(TrainConfig(width=0.125, middle_blocks=0, seed=seed), size=SIZE).get_weights() for seed in (1, 1, 2)
    )

    assert all(np.array_equal(one, two) for one, two in zip(first, again, strict=True))
    assert not all(np.array_equal(one, two) for one, two in zip(first, other, strict=True))


def test_the_momentum_reaches_every_normalisation():
    model = build_model(TrainConfig(width=0.125, middle_blocks=1, batchnorm_momentum=0.77), size=SIZE)

    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert {layer.momentum for layer in norms} == {0.77}
    assert len(norms) == 2 + 3 * 3 + 3 + 3 + 2
