"""The bytes of a record: a ``tf.train.Example`` made by hand, and the hash that says where it goes.

All faces of a video share everything but the frame number and the image, so their parts of the message are made once
a video and each record is one join of ready bytes. Features stand in the order of their names, as TensorFlow's own
deterministic serialisation has them; TensorFlow is not needed here.

Features: ``images`` (JPEG bytes) and ``labels`` (int64, 0 original, 1 manipulated) as the notebook's reader expects
them; ``video_id``, ``method``, ``compression`` and ``group`` (UTF-8 bytes) and ``frame`` (int64).
"""

import functools
import hashlib
from dataclasses import dataclass

FRAMING_BYTES = 16
"""A record on disk is 8 bytes of length and 4 of its checksum, the data, and 4 bytes of its checksum."""

_DELIMITED = 2  # protocol buffer wire type of strings, messages and packed numbers
_BYTES_LIST, _INT64_LIST = 1, 3  # fields of tf.train.Feature


@dataclass(frozen=True)
class Place:
    """Where a face goes.

    Attributes:
        shard: number of the shard.
        order: 64 random bits; a shard is sorted by them.
    """

    shard: int
    order: int


def place_of(video_id: str, frame: int, *, seed: int, shards: int) -> Place:
    """Hash a face to its shard and to its place inside: the same on every machine, whoever writes it."""
    digest = hashlib.blake2b(f"{seed}|{video_id}|{frame}".encode(), digest_size=16).digest()
    return Place(int.from_bytes(digest[:8], "big") % shards, int.from_bytes(digest[8:], "big"))


class ExampleEncoder:
    """Turns the faces of one video into serialised ``tf.train.Example`` messages."""

    def __init__(self, *, video_id: str, method: str, compression: str, group: str, label: int) -> None:
        self._compression = _feature("compression", _bytes(compression.encode()))
        self._group = _feature("group", _bytes(group.encode()))
        self._after_images = b"".join(
            [
                _feature("labels", _int64(label)),
                _feature("method", _bytes(method.encode())),
                _feature("video_id", _bytes(video_id.encode())),
            ]
        )

    def encode(self, frame: int, jpeg: bytes | memoryview) -> bytes:
        """Return the message of one face.

        Args:
            frame: index of the frame in display order.
            jpeg: the image's bytes; a view is copied once.
        """
        size = len(jpeg)
        value = _head(1, size)
        feature = _head(_BYTES_LIST, len(value) + size)
        entry = _IMAGES + _head(2, len(feature) + len(value) + size)
        images = _head(1, len(entry) + len(feature) + len(value) + size) + entry + feature + value
        before = b"".join([self._compression, _frame_feature(frame), self._group, images])
        features = _head(1, len(before) + size + len(self._after_images))
        return b"".join([features, before, jpeg, self._after_images])


@functools.lru_cache(maxsize=4096)
def _frame_feature(frame: int) -> bytes:
    return _feature("frame", _int64(frame))


def _feature(name: str, feature: bytes) -> bytes:
    entry = _field(1, name.encode()) + _field(2, feature)
    return _field(1, entry)


def _bytes(value: bytes) -> bytes:
    return _field(_BYTES_LIST, _field(1, value))


def _int64(value: int) -> bytes:
    return _field(_INT64_LIST, _field(1, _varint(value)))


def _field(number: int, payload: bytes) -> bytes:
    return _head(number, len(payload)) + payload


def _head(number: int, length: int) -> bytes:
    return bytes((number << 3 | _DELIMITED,)) + _varint(length)


def _varint(value: int) -> bytes:
    if value < 0:
        value += 1 << 64  # int64 is sent in two's complement
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


_IMAGES = _field(1, b"images")
