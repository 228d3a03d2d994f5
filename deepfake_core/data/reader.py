"""Read the records as a ``tf.data`` pipeline: shards interleaved, shuffled, parsed and decoded on all cores.

The order depends on seed and epoch alone (and on TensorFlow's global seed, where somebody sets one), so a run that was
killed goes on with the same batches: ``epoch`` names the pass, ``skip`` leaves out the batches that were already seen,
before anything is decoded. The images are the very pixels that scoring sees: JPEG is decoded with ``INTEGER_ACCURATE``,
which is bit-equal to OpenCV's decoder (TensorFlow's default differs by up to 11 levels), and nothing is resized.
"""

import math
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from deepfake_core.data.records_index import RecordsIndex, read_index, refuse_damaged_shards
from deepfake_core.errors import ConfigError
from deepfake_core.workspace import Workspace

__all__ = ["FaceArrays", "RecordsIndex", "decode_jpeg", "load_faces", "read_faces", "read_index"]

SHARDS_AT_ONCE = 16
RECORDS_IN_A_ROW = 64
"""Records taken from one shard before the next one's turn."""

CORES_A_READER = 8
"""One thread reads about 36,000 faces a second, more than eight cores decode; a thread more would only cost."""

BATCHES_AHEAD = 8
"""Batches that are ready before they are asked for, so that no core waits while the others fill the last one."""

IDS = ("video_id", "method", "compression", "group", "frame")

_FEATURES = {
    "images": tf.io.FixedLenFeature([], tf.string),
    "labels": tf.io.FixedLenFeature([], tf.int64),
}
_ID_FEATURES = {name: tf.io.FixedLenFeature([], tf.int64 if name == "frame" else tf.string) for name in IDS}


def read_faces(  # noqa: PLR0913 - the options of one pipeline
    workspace: Workspace,
    split: str,
    *,
    size: int | None = None,
    batch: int | None = None,
    shuffle_seed: int | None = None,
    epoch: int = 0,
    shuffle_buffer: int = 4096,
    skip: int = 0,
    with_ids: bool = False,
) -> tf.data.Dataset:
    """Return one pass over the faces of a split.

    Args:
        workspace: holds ``records/``.
        split: ``train``, ``val`` or ``test``.
        size: side of the images in pixels, as the caller expects it; None: whatever the records hold.
        batch: faces a batch, the last one may be smaller; None: single faces.
        shuffle_seed: order of the shards and of the faces; None: always the same order, for validation and test.
        epoch: number of the pass; another one gives another order under the same seed.
        shuffle_buffer: encoded faces among which the next one is drawn (about 35 KB each at 299 pixels). The records
            are shuffled on disk, so this only has to make epochs differ.
        skip: leave out this many batches (single faces, where ``batch`` is None).
        with_ids: yield where each face comes from, too.

    Returns:
        Elements ``(image, label)``: uint8 RGB of shape (size, size, 3), 0 to 255, and int64, 0 original and
        1 manipulated; with ``with_ids`` a third part, a dict of ``video_id``, ``method``, ``compression`` and
        ``group`` (bytes) and ``frame`` (int64). Batched, all have a leading axis.

    Raises:
        MissingInput: there are no records, or not this split.
        ConfigError: ``size`` is not that of the records.
        WorkspaceError: a shard is gone or has another length than the index says.
    """
    index = read_index(workspace)
    part = index.split(split)
    refuse_damaged_shards(workspace, split, part)
    side = _agreed_size(index, size)
    paths = np.array([str(workspace.resolve(shard.path)) for shard in part.shards if shard.faces], dtype=object)
    if shuffle_seed is not None:
        paths = paths[_random(shuffle_seed, epoch).permutation(len(paths))]
    faces = tf.data.Dataset.from_tensor_slices(paths.astype(str)).interleave(
        tf.data.TFRecordDataset,
        cycle_length=min(SHARDS_AT_ONCE, len(paths)),
        block_length=RECORDS_IN_A_ROW,
        num_parallel_calls=(os.cpu_count() or 1) // CORES_A_READER or None,
    )
    if shuffle_seed is not None:
        seed = int(_random(shuffle_seed, epoch).integers(1, 1 << 31))
        faces = faces.shuffle(min(shuffle_buffer, part.faces), seed=seed, reshuffle_each_iteration=False)
    if skip:
        faces = faces.skip(skip * (batch or 1))

    def parse(record: tf.Tensor) -> tuple[Any, ...]:
        values = tf.io.parse_single_example(record, {**_FEATURES, **(_ID_FEATURES if with_ids else {})})
        image = tf.ensure_shape(decode_jpeg(values["images"]), (side, side, 3))
        ids = ({name: values[name] for name in IDS},) if with_ids else ()
        return (image, values["labels"], *ids)

    faces = faces.map(parse, num_parallel_calls=os.cpu_count() or 1)
    elements = max(0, part.faces - skip * (batch or 1))
    if batch is not None:
        faces, elements = faces.batch(batch), math.ceil(elements / batch)
    faces = faces.apply(tf.data.experimental.assert_cardinality(elements))
    return faces.prefetch(BATCHES_AHEAD if batch else RECORDS_IN_A_ROW).with_options(_without_tuning())


def _without_tuning() -> tf.data.Options:
    """Return options that leave widths as they are: decoding fills all cores, and a tuner would only take its share."""
    options = tf.data.Options()
    options.autotune.enabled = False
    return options


def decode_jpeg(jpeg: tf.Tensor) -> tf.Tensor:
    """Decode one JPEG to uint8 RGB (height, width, 3), bit-equal to OpenCV."""
    return tf.io.decode_jpeg(jpeg, channels=3, dct_method="INTEGER_ACCURATE")


@dataclass(frozen=True)
class FaceArrays:
    """All faces of a split, decoded, in memory: for sets small enough, where decoding would be done every epoch.

    Attributes:
        images: uint8 RGB (faces, size, size, 3).
        labels: int64 (faces,), 0 original and 1 manipulated.
        ids: ``video_id``, ``method``, ``compression``, ``group`` (bytes) and ``frame`` (int64), each (faces,).
    """

    images: np.ndarray
    labels: np.ndarray
    ids: dict[str, np.ndarray]

    def batches(self, batch: int, *, shuffle_seed: int | None = None, epoch: int = 0, skip: int = 0) -> tf.data.Dataset:
        """Return one pass, in an order of all faces that depends on seed and epoch alone.

        Args:
            batch: faces a batch; the last one may be smaller.
            shuffle_seed: of the order; None: as the records stand.
            epoch: number of the pass.
            skip: leave out this many batches.

        Returns:
            Elements ``(images, labels)``, uint8 (batch, size, size, 3) and int64 (batch,).
        """
        order = np.arange(len(self.labels))
        if shuffle_seed is not None:
            order = _random(shuffle_seed, epoch).permutation(order)
        images, labels = tf.constant(self.images), tf.constant(self.labels)
        rows = tf.data.Dataset.from_tensor_slices(order[skip * batch :]).batch(batch)
        return rows.map(
            lambda rows: (tf.gather(images, rows), tf.gather(labels, rows)), num_parallel_calls=tf.data.AUTOTUNE
        ).prefetch(tf.data.AUTOTUNE)


def load_faces(workspace: Workspace, split: str, *, size: int | None = None) -> FaceArrays:
    """Decode all faces of a split into memory: faces × size × size × 3 bytes.

    Raises:
        The errors of ``read_faces``.
    """
    index = read_index(workspace)
    faces, side = index.split(split).faces, _agreed_size(index, size)
    images = np.empty((faces, side, side, 3), dtype=np.uint8)
    labels = np.empty(faces, dtype=np.int64)
    ids: dict[str, list[Any]] = {name: [] for name in IDS}
    start = 0
    for pixels, classes, named in read_faces(workspace, split, size=side, batch=64, with_ids=True).as_numpy_iterator():
        end = start + len(classes)
        images[start:end], labels[start:end] = pixels, classes
        for name in IDS:
            ids[name].extend(named[name])
        start = end
    return FaceArrays(images, labels, {name: np.array(values) for name, values in ids.items()})


def _agreed_size(index: RecordsIndex, size: int | None) -> int:
    held = index.spec.face.size
    if size not in {None, held}:
        message = (
            f"the records hold faces of {held} pixels and are never resized; {size} were asked for. "
            f"Set extract.face.size={size} and extract again, or train at {held}."
        )
        raise ConfigError(message)
    return held


def _random(seed: int, epoch: int) -> np.random.Generator:
    return np.random.default_rng([seed, epoch])
