"""The reader gives each face once, bit for bit, in an order that seed and epoch decide and a kill does not change."""

import subprocess
import sys

import cv2
import numpy as np
import pytest
import tensorflow as tf

from deepfake_core import tables
from deepfake_core.config import RecordsConfig
from deepfake_core.data import reader
from deepfake_core.data.reader import load_faces, read_faces, read_index
from deepfake_core.data.records import write_records
from deepfake_core.errors import ConfigError, MissingInput, WorkspaceError


@pytest.fixture
def written(faces_workspace):
    workspace = faces_workspace()
    write_records(workspace, config=RecordsConfig(shards=(5, 2, 40), seed=42))
    return workspace


def names_in(dataset) -> list[tuple[bytes, int]]:
    """Return (video, frame) of each face, in the order of reading."""
    return [(ids["video_id"], int(ids["frame"])) for _, _, ids in dataset.as_numpy_iterator()]


def batches_of(dataset) -> list[tuple[np.ndarray, np.ndarray]]:
    return list(dataset.as_numpy_iterator())


def test_every_face_comes_once_with_its_label_and_its_opencv_pixels(written):
    faces = list(read_faces(written, "train", with_ids=True).as_numpy_iterator())

    assert len({(ids["video_id"], int(ids["frame"])) for _, _, ids in faces}) == len(faces) == 72
    for image, label, ids in faces:
        table = tables.read(written.faces_of(ids["video_id"].decode()), schema=tables.FACES).to_pylist()
        jpeg = next(row["jpeg"] for row in table if row["frame"] == ids["frame"])
        bgr = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        np.testing.assert_array_equal(image, cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
        assert label == int(ids["method"] != b"original")


def test_tensorflows_default_decoder_would_give_other_pixels(written):
    jpeg = next(
        row["jpeg"] for row in tables.read(written.faces_of("ff/original/c40/000"), schema=tables.FACES).to_pylist()
    )

    exact = tf.io.decode_jpeg(jpeg, channels=3, dct_method="INTEGER_ACCURATE").numpy()
    default = tf.io.decode_jpeg(jpeg, channels=3).numpy()

    assert (exact != default).any()


def test_batches_have_the_shapes_and_types_that_training_expects(written):
    dataset = read_faces(written, "train", size=48, batch=32)

    image, label = dataset.element_spec
    assert image == tf.TensorSpec((None, 48, 48, 3), tf.uint8)
    assert label == tf.TensorSpec((None,), tf.int64)
    assert int(dataset.cardinality()) == 3
    assert [len(labels) for _, labels in batches_of(dataset)] == [32, 32, 8]


def test_validation_always_comes_in_the_same_order(written):
    assert names_in(read_faces(written, "val", with_ids=True)) == names_in(read_faces(written, "val", with_ids=True))


def test_seed_and_epoch_decide_the_order(written):
    def order(seed, epoch):
        return names_in(read_faces(written, "train", shuffle_seed=seed, epoch=epoch, shuffle_buffer=20, with_ids=True))

    first = order(7, 0)

    assert order(7, 0) == first
    assert order(7, 1) != first
    assert order(8, 0) != first
    assert sorted(order(7, 1)) == sorted(first)


def test_a_machine_with_more_cores_gives_the_same_order(written, monkeypatch):
    def order():
        return names_in(read_faces(written, "train", shuffle_seed=7, with_ids=True))

    here = order()
    monkeypatch.setattr(reader, "CORES_A_READER", 1)

    assert order() == here


def test_a_run_that_was_killed_goes_on_with_the_batches_it_had_not_seen(written):
    def batches(skip):
        return batches_of(read_faces(written, "train", batch=10, shuffle_seed=7, epoch=3, skip=skip))

    undisturbed, resumed = batches(0), batches(5)

    assert len(resumed) == len(undisturbed) - 5
    for (images, labels), (expected, classes) in zip(resumed, undisturbed[5:], strict=True):
        np.testing.assert_array_equal(images, expected)
        np.testing.assert_array_equal(labels, classes)


def test_skipping_everything_leaves_nothing(written):
    dataset = read_faces(written, "val", batch=10, skip=99)

    assert int(dataset.cardinality()) == 0
    assert batches_of(dataset) == []


def test_shards_without_a_face_are_no_obstacle(written):
    assert any(shard.faces == 0 for shard in read_index(written).splits["test"].shards)
    assert len(names_in(read_faces(written, "test", shuffle_seed=1, with_ids=True))) == 24


def test_faces_in_memory_are_the_same_faces(written):
    faces = load_faces(written, "train", size=48)

    assert faces.images.shape == (72, 48, 48, 3)
    by_name = {
        (ids["video_id"], int(ids["frame"])): image
        for image, _, ids in read_faces(written, "train", with_ids=True).as_numpy_iterator()
    }
    for image, label, video, frame in zip(
        faces.images, faces.labels, faces.ids["video_id"], faces.ids["frame"], strict=True
    ):
        np.testing.assert_array_equal(image, by_name[video, frame])
        assert label == int(b"/original/" not in video)


def test_faces_in_memory_are_shuffled_by_seed_and_epoch_and_resumed(written):
    faces = load_faces(written, "train")

    def labels(**options):
        return np.concatenate([labels for _, labels in batches_of(faces.batches(10, **options))]).tolist()

    first = labels(shuffle_seed=7, epoch=0)

    assert labels(shuffle_seed=7, epoch=0) == first
    assert labels(shuffle_seed=7, epoch=1) != first
    assert labels(shuffle_seed=7, epoch=0, skip=3) == first[30:]
    assert labels() == faces.labels.tolist()


def test_another_size_is_refused_because_nothing_is_resized(written):
    with pytest.raises(ConfigError, match="faces of 48 pixels and are never resized; 299"):
        read_faces(written, "train", size=299)


def test_a_shard_that_was_cut_is_refused(written):
    shard = written.records / "train" / "00001-of-00005.tfrecord"
    shard.write_bytes(shard.read_bytes()[:-1])

    with pytest.raises(WorkspaceError, match="00001-of-00005"):
        read_faces(written, "train")


def test_a_shard_that_is_gone_is_refused(written):
    (written.records / "train" / "00001-of-00005.tfrecord").unlink()

    with pytest.raises(WorkspaceError, match="it is gone"):
        read_faces(written, "train")


def test_reading_before_writing_says_which_command_is_missing(workspace):
    with pytest.raises(MissingInput, match="deepfake records"):
        read_faces(workspace, "train")


def test_a_split_that_does_not_exist_is_refused(written):
    with pytest.raises(MissingInput, match="no split 'holdout'"):
        read_faces(written, "holdout")


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"schema": 0}', b'{"schema": 1, "seed": 3}'])
def test_a_damaged_index_is_refused(written, damage):
    written.records_index.write_bytes(damage)

    with pytest.raises(WorkspaceError, match="damaged or of another version"):
        read_index(written)


def test_the_index_is_read_without_tensorflow():
    program = "import sys, deepfake_core.data.records_index; assert 'tensorflow' not in sys.modules"

    subprocess.run([sys.executable, "-c", program], check=True)
