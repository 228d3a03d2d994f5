"""Records are the messages that TensorFlow would have made, and a face's place depends on nothing but its name."""

from collections import Counter

import pytest
import tensorflow as tf

from deepfake_core.data.tfrecord import ExampleEncoder, place_of

VIDEO = "youtube/Deepfakes/c23/001_002"


def encoder(**changes):
    values = {"video_id": VIDEO, "method": "Deepfakes", "compression": "c23", "group": "001", "label": 1}
    return ExampleEncoder(**{**values, **changes})


def features_of(message: bytes) -> dict[str, list]:
    features = tf.train.Example.FromString(message).features.feature
    return {name: list(getattr(value, value.WhichOneof("kind")).value) for name, value in features.items()}


@pytest.mark.parametrize("length", [0, 1, 100, 127, 128, 16_383, 16_384, 40_000, 3_000_000])
def test_a_face_of_any_length_is_the_message_that_tensorflow_reads(length):
    jpeg = bytes(index % 251 for index in range(length))

    message = encoder().encode(128, memoryview(jpeg))

    assert features_of(message) == {
        "images": [jpeg],
        "labels": [1],
        "video_id": [VIDEO.encode()],
        "method": [b"Deepfakes"],
        "compression": [b"c23"],
        "group": [b"001"],
        "frame": [128],
    }


def test_the_message_is_byte_for_byte_the_one_that_tensorflow_would_serialise():
    jpeg = b"\xff\xd8 an image \xff\xd9"
    example = tf.train.Example()
    for name, value in (("images", jpeg), ("method", b"original"), ("compression", b"c40"), ("group", b"003")):
        example.features.feature[name].bytes_list.value.append(value)
    example.features.feature["video_id"].bytes_list.value.append(VIDEO.encode())
    example.features.feature["labels"].int64_list.value.append(0)
    example.features.feature["frame"].int64_list.value.append(70_000)

    message = encoder(method="original", compression="c40", group="003", label=0).encode(70_000, jpeg)

    assert message == example.SerializeToString(deterministic=True)


def test_names_in_any_script_survive():
    message = encoder(video_id="ünï/原/c23/名前", group="名").encode(0, b"jpeg")

    assert features_of(message)["video_id"] == ["ünï/原/c23/名前".encode()]
    assert features_of(message)["group"] == ["名".encode()]


def test_a_face_has_the_same_place_on_every_machine():
    place = place_of(VIDEO, 128, seed=42, shards=60)

    assert (place.shard, place.order) == (place_of(VIDEO, 128, seed=42, shards=60).shard, place.order)
    assert place != place_of(VIDEO, 128, seed=43, shards=60)
    assert place != place_of(VIDEO, 132, seed=42, shards=60)


def test_faces_spread_evenly_over_the_shards_and_videos_are_torn_apart():
    faces = [(f"youtube/original/c23/{video:03d}", 4 * frame) for video in range(60) for frame in range(100)]

    shards = Counter(place_of(video, frame, seed=1, shards=20).shard for video, frame in faces)
    of_one_video = {place_of(faces[0][0], 4 * frame, seed=1, shards=20).shard for frame in range(100)}

    assert set(shards) == set(range(20))
    assert 240 < min(shards.values()) <= max(shards.values()) < 360
    assert len(of_one_video) == 20
