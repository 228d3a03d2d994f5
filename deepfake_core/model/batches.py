"""From records to the tensors that a training step takes.

Small sets are decoded once and kept in memory, larger ones are streamed from their shards every epoch. Everything
random is decided by (seed, epoch, step), so an epoch can be done again, alone, with the same result.
"""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from deepfake_core.config import TrainConfig
from deepfake_core.data.reader import load_faces, read_faces, read_index
from deepfake_core.model.augment import augment_crops
from deepfake_core.workspace import Workspace

MEMORY_BYTES = 1 << 30
"""Decoded faces of a split are kept in memory up to this size."""


class SplitFaces:
    """The faces of one split, as often as they are asked for.

    Attributes:
        count: how many there are.
        size: their side in pixels.
    """

    def __init__(
        self, workspace: Workspace, split: str, *, shuffle_buffer: int = 4096, memory_bytes: int = MEMORY_BYTES
    ) -> None:
        index = read_index(workspace)
        self.count = index.split(split).faces
        self.size = index.spec.face.size
        self._workspace, self._split, self._shuffle_buffer = workspace, split, shuffle_buffer
        fits = self.count * self.size * self.size * 3 <= memory_bytes
        self._arrays = load_faces(workspace, split, size=self.size) if fits else None

    def batches(self, batch: int, *, shuffle_seed: int | None = None, epoch: int = 0) -> tf.data.Dataset:
        """Return one pass of ``(crops, labels)``: uint8 (batch, size, size, 3) RGB and int64 (batch,).

        Args:
            batch: faces a batch; the last one may be smaller.
            shuffle_seed: of the order; None: as the records stand.
            epoch: number of the pass; another one gives another order.
        """
        if self._arrays is not None:
            return self._arrays.batches(batch, shuffle_seed=shuffle_seed, epoch=epoch)
        return read_faces(
            self._workspace,
            self._split,
            size=self.size,
            batch=batch,
            shuffle_seed=shuffle_seed,
            epoch=epoch,
            shuffle_buffer=self._shuffle_buffer,
        )


class TrainingBatches:
    """Shuffled, augmented and weighted batches of the training split.

    Attributes:
        steps: batches an epoch. The last, smaller batch is left out, another one each epoch: a few faces would spoil
            the statistics of batch normalisation.
        images: faces an epoch.
    """

    def __init__(self, faces: SplitFaces, *, config: TrainConfig, class_weights: Mapping[int, float]) -> None:
        self._faces = faces
        self._batch = min(config.batch, faces.count)
        self._seed = (config.seed or 0) % (1 << 31)
        self.steps = faces.count // self._batch
        self.images = self.steps * self._batch
        weights = tf.constant([class_weights[0], class_weights[1]], dtype=tf.float32)

        def prepare(crops: Any, labels: Any, seed: Any) -> Any:
            crops = augment_crops(crops, config=config.augment, seed=seed)
            return tf.cast(crops, tf.float32), tf.cast(labels, tf.float32)[:, None], tf.gather(weights, labels)

        # Traced once; the pipeline of every epoch calls the same graph.
        self._prepare = tf.function(
            prepare,
            input_signature=[
                tf.TensorSpec((None, faces.size, faces.size, 3), tf.uint8),
                tf.TensorSpec((None,), tf.int64),
                tf.TensorSpec((2,), tf.int32),
            ],
            autograph=False,
        )

    def epoch(self, epoch: int) -> tf.data.Dataset:
        """Return the batches of an epoch: images float32 (batch, size, size, 3), labels float32 (batch, 1), weights."""
        seed = tf.constant([self._seed, epoch], dtype=tf.int32)

        def prepare(step: Any, batch: Any) -> Any:
            return self._prepare(*batch, tf.random.experimental.stateless_fold_in(seed, tf.cast(step, tf.int32)))

        batches = self._faces.batches(self._batch, shuffle_seed=self._seed, epoch=epoch).take(self.steps)
        return batches.enumerate().map(prepare, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def weigh_classes(counts: Mapping[int, int], how: str) -> dict[int, float]:
    """Return the weight of each class in the loss.

    Args:
        counts: faces of the training split by label.
        how: ``balanced`` (total / (2 × count)), ``total_over_count`` (the notebook's) or ``none``.
    """
    total = sum(counts.values())
    factor = {"balanced": 0.5, "total_over_count": 1.0}
    return {label: factor[how] * total / count if how in factor else 1.0 for label, count in counts.items()}
