"""The parts of a training, each on its own: batches, weights of classes, schedules, selection, checkpoints."""

import math

import keras
import numpy as np
import pytest

from deepfake_core.config import TrainConfig
from deepfake_core.data.reader import load_faces
from deepfake_core.model import provenance
from deepfake_core.model.batches import SplitFaces, TrainingBatches, weigh_classes
from deepfake_core.model.checkpoints import Checkpoints, Epoch, State
from deepfake_core.model.devices import on_device
from deepfake_core.model.fitting import best_epoch, cross_entropy, out_of_patience
from deepfake_core.model.optimizers import build_optimizer, learning_rate

EVEN = {0: 1.0, 1: 1.0}


def epoch(number: int, *, val_loss: float = 1.0, val_auc: float = 0.5) -> Epoch:
    return Epoch(
        epoch=number,
        loss=1.0,
        val_loss=val_loss,
        val_auc=val_auc,
        learning_rate=0.1,
        images_per_second=1.0,
        seconds=1.0,
    )


# Batches --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("memory_bytes", [1 << 30, 0])
def test_an_epoch_shows_every_face_once_in_an_order_of_its_own(records, tiny, no_changes, memory_bytes):
    faces = SplitFaces(records, "train", memory_bytes=memory_bytes)
    config = tiny.model_copy(update={"augment": no_changes})
    batches = TrainingBatches(faces, config=config, class_weights={0: 0.5, 1: 2.0})

    first, again, second = (list(batches.epoch(number).as_numpy_iterator()) for number in (1, 1, 2))

    assert len(first) == batches.steps == 6
    images, labels, weights = (np.concatenate(parts) for parts in zip(*first, strict=True))
    assert images.dtype == np.float32
    assert labels.shape == (48, 1)
    np.testing.assert_array_equal(weights, np.where(labels[:, 0] == 1, 2.0, 0.5))
    everything = load_faces(records, "train").images.reshape(48, -1).astype(np.float32)
    assert {face.tobytes() for face in images.reshape(48, -1)} == {face.tobytes() for face in everything}
    np.testing.assert_array_equal(first[0][0], again[0][0])
    assert not np.array_equal(first[0][0], second[0][0])


def test_augmentation_differs_by_epoch_and_repeats_for_the_same_one(records, tiny):
    batches = TrainingBatches(SplitFaces(records, "train"), config=tiny, class_weights=EVEN)

    first, again = (next(iter(batches.epoch(3)))[0].numpy() for _ in range(2))

    np.testing.assert_array_equal(first, again)
    assert first.min() >= 0
    assert first.max() <= 255


def test_the_last_smaller_batch_is_left_out_and_a_small_set_is_one_batch(records, tiny):
    faces = SplitFaces(records, "train")

    for batch, steps in ((10, 4), (48, 1), (1000, 1)):
        config = tiny.model_copy(update={"batch": batch})
        batches = TrainingBatches(faces, config=config, class_weights=EVEN)
        assert batches.steps == len(list(batches.epoch(1))) == steps
        assert batches.images == steps * min(batch, 48)


@pytest.mark.parametrize(
    ("how", "weights"),
    [("balanced", {0: 2.0, 1: 2 / 3}), ("total_over_count", {0: 4.0, 1: 4 / 3}), ("none", {0: 1.0, 1: 1.0})],
)
def test_classes_are_weighed_by_their_counts(how, weights):
    assert weigh_classes({0: 25, 1: 75}, how) == pytest.approx(weights)


# Optimizer ------------------------------------------------------------------------------------------------------------


def test_the_cosine_warms_up_and_ends_at_zero():
    config = TrainConfig(schedule="cosine", warmup_epochs=2, epochs=10, learning_rate=0.1)
    schedule = learning_rate(config, steps=5)

    rates = [float(schedule(step)) for step in range(51)]

    assert rates[0] == pytest.approx(0.01)
    assert rates[:11] == sorted(rates[:11])
    assert rates[10] == pytest.approx(0.1)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[30] == pytest.approx(0.1 * (1 + math.cos(math.pi / 2)) / 2)
    assert rates[50] == pytest.approx(0, abs=1e-8)


def test_a_warm_up_longer_than_the_training_is_cut():
    schedule = learning_rate(TrainConfig(schedule="cosine", warmup_epochs=9, epochs=1), steps=4)

    assert np.isfinite([float(schedule(step)) for step in range(5)]).all()


def test_the_notebooks_adam():
    optimizer = build_optimizer(TrainConfig(), steps=10)

    values = optimizer.get_config()
    assert float(values["learning_rate"]) == pytest.approx(2e-4)
    assert (values["beta_1"], values["beta_2"], values["epsilon"]) == (0.9, 0.999, 1e-8)


def test_weight_decay_leaves_scales_and_offsets_alone():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2), keras.layers.BatchNormalization()])
    optimizer = build_optimizer(TrainConfig(optimizer="adamw", learning_rate=0.1, weight_decay=0.5), steps=1)
    optimizer.build(model.trainable_variables)
    before = {weight.path: weight.numpy() + 0 for weight in model.trainable_variables}

    optimizer.apply([keras.ops.zeros_like(weight) for weight in model.trainable_variables])

    changed = {path.rpartition("/")[2] for path, value in before.items() if changed_from(model, path, value)}
    assert changed == {"kernel"}


def changed_from(model: keras.Model, path: str, value: np.ndarray) -> bool:
    (weight,) = [weight for weight in model.trainable_variables if weight.path == path]
    return not np.array_equal(weight.numpy(), value)


def test_float16_scales_its_loss():
    optimizer = build_optimizer(TrainConfig(precision="mixed_float16"), steps=1)

    assert isinstance(optimizer, keras.optimizers.LossScaleOptimizer)


def test_the_device_that_is_asked_for_is_taken():
    with on_device("cpu"):
        assert "CPU" in keras.ops.ones(1).device


# Selection ------------------------------------------------------------------------------------------------------------


def test_the_best_epoch_is_the_first_of_the_best():
    history = [epoch(1, val_loss=0.5, val_auc=0.7), epoch(2, val_loss=0.3, val_auc=0.9), epoch(3, val_loss=0.3)]

    assert best_epoch(history, select_by="val_loss") == 2
    assert best_epoch(history, select_by="val_auc") == 2
    assert best_epoch([*history, epoch(4, val_auc=0.95)], select_by="val_auc") == 4


def test_patience_counts_epochs_since_the_best():
    history = [epoch(1, val_loss=0.5), epoch(2, val_loss=0.3), epoch(3, val_loss=0.4), epoch(4, val_loss=0.35)]

    assert not out_of_patience(history[:3], select_by="val_loss", patience=2)
    assert out_of_patience(history, select_by="val_loss", patience=2)
    assert not out_of_patience(history, select_by="val_loss", patience=None)
    assert not out_of_patience([], select_by="val_loss", patience=1)


def test_the_cross_entropy_of_sure_logits_does_not_overflow():
    assert cross_entropy([1, 0], [1000.0, -1000.0]) == 0.0
    assert cross_entropy([0, 1], [1000.0, -1000.0]) == 1000.0
    assert cross_entropy([0, 1], [0.0, 0.0]) == pytest.approx(math.log(2))


# Checkpoints ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def learner():
    """Return a model, its optimizer, and a function that trains for a step."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    optimizer = keras.optimizers.Adam(0.1)
    model.compile(optimizer, loss="mse")

    def step(count: int = 1) -> None:
        for _ in range(count):
            model.train_on_batch(np.ones((4, 3)), np.zeros((4, 1)))

    step()
    return model, optimizer, step


def test_a_checkpoint_brings_back_weights_and_optimizer(tmp_path, learner):
    model, optimizer, step = learner
    store = Checkpoints(tmp_path / "checkpoints")
    state = State(fingerprint="f", run_id="r", history=(epoch(1),), best_epoch=1)
    store.save(state, model, optimizer)
    step(3)
    expected = [weights + 0 for weights in model.get_weights()]

    found = store.read("f")
    store.restore(found, model, optimizer)
    step(3)

    assert found == state
    for weight, value in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_only_the_last_and_the_best_epoch_are_kept(tmp_path, learner):
    model, optimizer, step = learner
    store = Checkpoints(tmp_path)
    history: tuple[Epoch, ...] = ()
    best_weights = None
    for number, loss in enumerate([0.5, 0.2, 0.4, 0.3], start=1):
        step()
        history = (*history, epoch(number, val_loss=loss))
        state = State(
            fingerprint="f", run_id="r", history=history, best_epoch=best_epoch(history, select_by="val_loss")
        )
        best_weights = model.get_weights() if number == 2 else best_weights
        store.save(state, model, optimizer)

    assert {path.name for path in tmp_path.iterdir()} == {
        "state.json", "weights-0004.npz", "optimizer-0004.npz", "weights-0002.npz",
    }  # fmt: skip
    store.restore_best(state, model)
    np.testing.assert_array_equal(model.get_weights()[0], best_weights[0])


def test_a_checkpoint_of_another_training_or_with_a_lost_file_is_not_used(tmp_path, learner):
    model, optimizer, _ = learner
    store = Checkpoints(tmp_path)
    assert store.read("f") is None
    begun = State(fingerprint="f", run_id="r")
    store.begin(begun)
    assert store.read("f") == begun
    store.save(begun.model_copy(update={"history": (epoch(1),), "best_epoch": 1}), model, optimizer)

    assert store.read("g") is None
    (tmp_path / "weights-0001.npz").unlink()
    assert store.read("f") is None


# Provenance -----------------------------------------------------------------------------------------------------------


def test_the_commit_is_that_of_a_checkout_and_of_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "_SOURCE", tmp_path / "provenance.py")
    assert provenance.git_commit() is None

    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.git_commit() is None
