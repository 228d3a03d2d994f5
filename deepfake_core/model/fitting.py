"""One epoch at a time: train on all batches, look at all validation faces.

Which epoch is the best and when to stop are functions of the history alone, so that a training which was killed and
goes on decides as if it had not been.
"""

import math
import time
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from deepfake_core import metrics
from deepfake_core.config import TrainConfig
from deepfake_core.errors import TrainingError
from deepfake_core.model.batches import SplitFaces, TrainingBatches
from deepfake_core.model.checkpoints import Epoch
from deepfake_core.model.optimizers import build_optimizer
from deepfake_core.model.xception import LOGIT
from deepfake_core.progress import Bar

VALIDATION_BATCH = 64  # faces


class Fitter:
    """A model with its optimizer and its data.

    Attributes:
        model: from ``build_model``.
        optimizer: its optimizer, with the variables already made.
        steps: training batches an epoch.
    """

    def __init__(
        self, model: keras.Model, *, config: TrainConfig, batches: TrainingBatches, validation: SplitFaces
    ) -> None:
        self.model = model
        self.optimizer = build_optimizer(config, steps=batches.steps)
        self.optimizer.build(model.trainable_variables)
        self.steps = batches.steps
        self._config, self._batches, self._validation = config, batches, validation
        self._learner = keras.Model(model.input, model.get_layer(LOGIT).output)
        self._learner.compile(
            self.optimizer,
            loss=keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=config.label_smoothing),
            # XLA is five times slower than plain TensorFlow on a CPU.
            jit_compile="auto" if config.device != "cpu" and tf.config.list_physical_devices("GPU") else False,
        )
        self._logits_of = KerasLogits(model)

    def run_epoch(self, epoch: int, bar: Bar) -> Epoch:
        """Train for one epoch and validate.

        Args:
            epoch: its number, from 1.
            bar: advances by one step a batch.

        Raises:
            TrainingError: the loss is no longer a finite number.
        """
        began = time.perf_counter()
        reseed_dropout(self.model, seed=self._config.seed or 0, epoch=epoch)
        reporter = _StepReporter(bar, title=f"epoch {epoch}/{self._config.epochs}")
        fitted = self._learner.fit(self._batches.epoch(epoch), shuffle=False, verbose=0, callbacks=[reporter])
        trained = time.perf_counter()
        labels, logits = self._validate()
        if not np.isfinite(logits).all():
            message = f"the model of epoch {epoch} gives logits that are no numbers. {_WHAT_TO_DO}"
            raise TrainingError(message)
        return Epoch(
            epoch=epoch,
            loss=float(fitted.history["loss"][-1]),
            val_loss=cross_entropy(labels, logits),
            val_auc=metrics.auc(labels, logits),
            learning_rate=float(np.asarray(self.optimizer.learning_rate)),
            images_per_second=self._batches.images / (trained - began),
            seconds=time.perf_counter() - began,
        )

    def _validate(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        labels, logits = [], []
        for crops, classes in self._validation.batches(VALIDATION_BATCH):
            labels.append(classes.numpy())
            logits.append(self._logits_of(crops))
        return np.concatenate(labels), np.concatenate(logits)


class KerasLogits:
    """Turns crops into logits with a Keras model, traced once for any number of crops."""

    def __init__(self, model: keras.Model) -> None:
        _, height, width, channels = model.input_shape
        self._call = tf.function(
            lambda crops: model(tf.cast(crops, tf.float32), training=False)[LOGIT][:, 0],
            input_signature=[tf.TensorSpec((None, height, width, channels), tf.uint8)],
        )

    def __call__(self, crops: Any) -> npt.NDArray[np.float32]:
        """Return logits, float32 (crops,), of uint8 RGB crops (crops, size, size, 3)."""
        return np.asarray(self._call(crops), dtype=np.float32)


def cross_entropy(labels: npt.ArrayLike, logits: npt.ArrayLike) -> float:
    """Return the mean binary cross-entropy of logits, without overflow."""
    y, z = np.asarray(labels, dtype=np.float64), np.asarray(logits, dtype=np.float64)
    return float(np.mean(np.logaddexp(0.0, z) - y * z))


def best_epoch(history: Sequence[Epoch], *, select_by: str) -> int:
    """Return the number of the epoch with the lowest ``val_loss`` or the highest ``val_auc``; the first of equals."""
    sign = 1.0 if select_by == "val_auc" else -1.0
    return max(history, key=lambda epoch: (sign * getattr(epoch, select_by), -epoch.epoch)).epoch


def out_of_patience(history: Sequence[Epoch], *, select_by: str, patience: int | None) -> bool:
    """Say whether ``patience`` epochs went by without a better one than the best."""
    if patience is None or not history:
        return False
    return history[-1].epoch - best_epoch(history, select_by=select_by) >= patience


def reseed_dropout(model: keras.Model, *, seed: int, epoch: int) -> None:
    """Let dropout depend on (seed, epoch, step), not on how often the process drew before."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dropout) and layer.rate > 0:
            layer.seed_generator.state.assign([seed % (1 << 31), epoch << 20])


_WHAT_TO_DO = "Lower train.learning_rate, or train in float32."


class _StepReporter(keras.callbacks.Callback):  # type: ignore[misc] # Keras is not typed
    """Moves the bar, shows the loss, and stops at the first loss that is no number."""

    def __init__(self, bar: Bar, *, title: str) -> None:
        super().__init__()
        self._bar, self._title = bar, title

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        loss = float((logs or {})["loss"])
        if not math.isfinite(loss):
            message = f"the loss became {loss} in step {batch + 1} of {self._title}. {_WHAT_TO_DO}"
            raise TrainingError(message)
        self._bar.advance()
        self._bar.say(f"{self._title}, loss {loss:.3f}")
