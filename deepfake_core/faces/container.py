"""Open a video file, and what its packets say without being decoded.

Files come from anywhere, so opening reaches nothing but the file itself, and whatever is not a video with frames is
refused with a sentence.
"""

from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np

from deepfake_core.errors import MediaError

_STILL_IMAGES = ("image2", "_pipe", "ico")
_STILL_BRANDS = ("avif", "heic", "heix", "mif1")
"""Of the files of the MP4 kind that hold one picture."""


@dataclass(frozen=True)
class PacketScan:
    """What the packets of a video say without being decoded.

    Attributes:
        codec: name of the codec.
        pix_fmt: name of the pixel format.
        fps: average frames a second; zero where the file does not say.
        duration: declared seconds; zero where the file does not say.
        declared: frames that the header announces, without those that an edit list leaves out; zero where it does not.
        packets: coded frames that are there.
        numbered: whether the display order is known from timestamps: H.264 of the MP4 kind, every packet with a
            timestamp of its own, none to be discarded, and not in the decoding order where that is another one.
        stamps: the timestamps in display order, where ``numbered``; eight bytes a frame.
        length_bytes: bytes of a NAL unit's length in H.264 of the MP4 kind; 0 for anything else.
    """

    codec: str
    pix_fmt: str
    fps: float
    duration: float
    declared: int
    packets: int
    numbered: bool
    stamps: "array[int]"
    length_bytes: int

    @property
    def expected(self) -> int:
        """Frames that the whole file would have: more than ``packets`` when its tail is missing."""
        return max(self.declared, self.packets)


def scan_packets(path: Path) -> PacketScan:
    """Read all packets of a video without decoding them.

    Raises:
        MediaError: it is no video, or holds no frame.
    """
    stamps = array("q")
    packets = 0
    trusted = True
    with opened(path) as (container, stream):
        length_bytes = _length_bytes(stream)
        try:
            for packet in container.demux(stream):
                if not packet.size:
                    continue
                packets += 1
                if packet.pts is None or packet.is_discard:
                    trusted = False
                elif length_bytes:
                    stamps.append(packet.pts)
        except av.FFmpegError:
            pass  # the tail is missing: what came before it counts
        if not packets:
            message = f"{path.name}: holds a video stream without any frame."
            raise MediaError(message)
        if packets == 1 and container.format.name == "gif":
            raise _still_image(path, "gif")
        coded = np.frombuffer(stamps, dtype=np.int64)
        ordered = np.sort(coded)
        # Frames that are to be reordered, stamped as they come, carry the times of decoding: some programs write those.
        lying = stream.codec_context.has_b_frames and np.array_equal(coded, ordered)
        numbered = bool(length_bytes and trusted and not lying and (np.diff(ordered) > 0).all())
        return PacketScan(
            codec=stream.codec_context.name,
            pix_fmt=stream.codec_context.pix_fmt or "",
            fps=float(stream.average_rate or stream.guessed_rate or 0),
            duration=_duration(container, stream),
            declared=declared_frames(path, stream, packets),
            packets=packets,
            numbered=numbered,
            stamps=array("q", ordered.tobytes()) if numbered else array("q"),
            length_bytes=length_bytes,
        )


def declared_frames(path: Path, stream: Any, packets: int) -> int:
    """Return how many coded frames the header of a file promises; zero where it does not say.

    A video that was trimmed on a phone is whole, and an edit list in front of it leaves out some of its frames: it
    promises only the ``packets`` that are left, when the others are found too once the list is ignored. A header that
    promises more frames than the file has bytes is lying.
    """
    declared = int(stream.frames)
    if packets < declared and _count_unedited(path) == declared:
        return packets
    return min(declared, path.stat().st_size)


def _count_unedited(path: Path) -> int:
    """Count the coded frames of a file as if it had no edit list."""
    packets = 0
    with opened(path, ignore_editlist="1") as (container, stream):
        try:
            for packet in container.demux(stream):
                packets += packet.size > 0 and not packet.is_corrupt
        except av.FFmpegError:
            pass  # what is not there is not counted
    return packets


@contextmanager
def opened(path: Path, **options: str) -> Iterator[tuple[Any, Any]]:
    """Open a file for decoding in one thread; give PyAV's container and its first true video stream.

    Args:
        path: the file.
        options: of FFmpeg's demuxer.

    Raises:
        MediaError: there is no such file, or it holds no video.
    """
    _refuse_no_file(path)
    try:
        # The prefix and the whitelist keep hostile names and playlists from reaching other files or hosts. Titles in
        # another encoding than UTF-8 are nobody's reason to refuse a video.
        container = av.open(
            f"file:{path.resolve()}", options={**options, "protocol_whitelist": "file"}, metadata_errors="replace"
        )
    except av.FFmpegError as error:
        what = "is empty" if path.stat().st_size == 0 else f"is not a video that can be opened ({reason_of(error)})"
        message = f"{path.name}: {what}."
        raise MediaError(message) from error
    with container:
        still = _still_kind(container)
        if still:
            raise _still_image(path, still)
        streams = [stream for stream in container.streams.video if not _is_cover(stream)]
        if not streams:
            message = f"{path.name}: holds no video stream{_kinds(container)}."
            raise MediaError(message)
        stream = streams[0]
        if stream.codec_context is None:
            message = f"{path.name}: is of a codec that FFmpeg cannot decode. Convert it, to H.264 for example."
            raise MediaError(message)
        # One thread: workers are the parallelism, and frame threads would hold more frames in memory.
        stream.thread_type = "NONE"
        stream.codec_context.thread_count = 1
        yield container, stream


def _refuse_no_file(path: Path) -> None:
    try:
        found = path.is_file()
    except OSError as error:
        message = f"{path}: cannot be read ({error.strerror})."
        raise MediaError(message) from error
    if not found:
        message = f"{path}: there is no such file."
        raise MediaError(message)


def _is_cover(stream: Any) -> bool:
    return bool(stream.disposition & stream.disposition.attached_pic)


def _still_kind(container: Any) -> str:
    """Return the format of a still image that passes as a video, else an empty string."""
    name, brand = container.format.name, container.metadata.get("major_brand", "")
    if any(mark in name for mark in _STILL_IMAGES):
        return str(name)
    return brand if brand in _STILL_BRANDS else ""


def _still_image(path: Path, kind: str) -> MediaError:
    return MediaError(f"{path.name}: is a still image ({kind}), not a video.")


def _kinds(container: Any) -> str:
    kinds = ", ".join(sorted({stream.type for stream in container.streams}))
    return f", only {kinds}" if kinds else " and nothing else either"


def _duration(container: Any, stream: Any) -> float:
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return float(container.duration / av.time_base) if container.duration else 0.0


def reason_of(error: av.FFmpegError | ValueError) -> str:
    """Return what FFmpeg says, without file names and numbers."""
    return (error.strerror if isinstance(error, av.FFmpegError) else None) or str(error)


def _length_bytes(stream: Any) -> int:
    """Return how many bytes the length of a NAL unit has in H.264 of the MP4 kind (AVCC); 0 for anything else."""
    header = stream.codec_context.extradata
    if stream.codec_context.name != "h264" or not header or len(header) < 7 or header[0] != 1:
        return 0
    return int(header[4] & 3) + 1


def is_disposable(packet: Any, length_bytes: int) -> bool:
    """Say whether no other picture needs this packet: every slice in it has ``nal_ref_idc`` 0.

    A packet that is not understood to its last byte, or carries anything but slices and remarks, is needed.
    """
    data = memoryview(packet)
    slices = 0
    place = 0
    while place + length_bytes < len(data):
        length = int.from_bytes(data[place : place + length_bytes], "big")
        header = data[place + length_bytes]
        place += length_bytes + length
        kind = header & 31
        if 1 <= kind <= 5:
            if header & 96:
                return False
            slices += 1
        elif kind not in (6, 9, 12):  # supplemental information, delimiter, filler
            return False
        if length == 0:
            return False
    return slices > 0 and place == len(data)
