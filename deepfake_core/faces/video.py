"""Decode exactly the sampled frames of a video.

In: a path, a step and an offset. Out: a ``SampledFrame`` for every ``step``-th frame, counted as ``cv2.VideoCapture``
counts them, with the pixels that ``cv2.VideoCapture`` gives. Frames are chosen by decoding, never by seeking.

H.264 marks pictures that no other picture refers to. Those of them that are not sampled never reach the decoder: the
others come out bit-identical, at about half the cost. The frames are numbered by their sorted timestamps, which a first
pass over the packets (without decoding) collects. Where that cannot be trusted - other codecs, byte-stream H.264,
missing, repeated or discarded timestamps - everything is decoded.

Memory does not grow with the video, but for eight bytes a frame of timestamps.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import av
import cv2
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from deepfake_core.errors import MediaError

Image = np.ndarray[Any, np.dtype[np.uint8]]
Convert = Literal["frame", "planes"]

_ROTATIONS = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_CLOCKWISE}
_OPENCVS = Interpolation.BICUBIC
_STILL_IMAGES = ("image2", "_pipe")
_SUBSAMPLING = {"yuv420p": (2, 2), "yuvj420p": (2, 2), "yuv422p": (2, 1), "yuvj422p": (2, 1), "yuv444p": (1, 1)}


@dataclass(frozen=True)
class VideoInfo:
    """What a video file holds.

    Attributes:
        codec: name of the codec, such as ``h264``.
        pix_fmt: pixel format, such as ``yuv420p``.
        rotation: degrees counter-clockwise by which players turn the picture: 0, 90, 180 or 270.
        width: of the upright picture, in pixels.
        height: of the upright picture, in pixels.
        fps: average frames a second; zero where the file does not say.
        frames: coded frames that are in the file (fewer than its header declares when its tail is missing).
        duration: seconds, as declared; ``frames / fps`` where the file does not say.
    """

    codec: str
    pix_fmt: str
    rotation: int
    width: int
    height: int
    fps: float
    frames: int
    duration: float


def probe_video(path: Path) -> VideoInfo:
    """Read what a video file holds: all of its packet headers, and its first frame to prove that it decodes.

    Raises:
        MediaError: it is no video, is empty or damaged, or its first frame does not decode.
    """
    scan = _scan(path)
    first = next(iter(iter_frames(path, step=1, max_frames=1)), None)
    if first is None:
        message = f"{path.name}: no frame of it can be decoded."
        raise MediaError(message)
    duration = scan.duration or (scan.packets / scan.fps if scan.fps else 0.0)
    return VideoInfo(
        codec=scan.codec,
        pix_fmt=scan.pix_fmt,
        rotation=first.rotation,
        width=first.width,
        height=first.height,
        fps=scan.fps,
        frames=scan.packets,
        duration=duration,
    )


class SampledFrame:
    """One frame of a video, converted only when and where somebody looks.

    Attributes:
        index: number of the frame in display order, from 0.
        seconds: presentation time.
        rotation: degrees counter-clockwise by which the coded picture was turned.
        width: of the upright picture, in pixels.
        height: of the upright picture, in pixels.
    """

    def __init__(
        self, picture: av.VideoFrame, *, index: int, seconds: float, convert: Convert, reformatter: VideoReformatter
    ) -> None:
        self.index = index
        self.seconds = seconds
        self.rotation = round(picture.rotation) % 360
        turned = self.rotation in (90, 270)
        self.width, self.height = (picture.height, picture.width) if turned else (picture.width, picture.height)
        self._picture = picture
        self._convert = convert
        self._reformatter = reformatter
        self._bgr: Image | None = None

    def bgr(self) -> Image:
        """Return the whole frame, (height, width, 3) uint8 BGR: the bytes of ``cv2.VideoCapture.read``."""
        if self._bgr is None:
            converted = self._reformatter.reformat(self._picture, format="bgr24", interpolation=_OPENCVS)
            self._bgr = self._upright(converted.to_ndarray())
        return self._bgr

    def small(self, longest_side: int) -> Image:
        """Return the frame shrunk by area to ``longest_side`` pixels, uint8 BGR, for detection.

        It is made from the decoded planes, at a quarter of the cost of the whole frame. A frame that is not larger
        (or a ``longest_side`` of zero) is returned as it is.
        """
        scale = longest_side / max(self.width, self.height)
        if longest_side == 0 or scale >= 1.0:
            return self.bgr()
        width, height = (max(1, round(side * scale)) for side in (self._picture.width, self._picture.height))
        shrunk = VideoReformatter().reformat(
            self._picture, width=width, height=height, format="bgr24", interpolation=Interpolation.AREA
        )
        return self._upright(shrunk.to_ndarray())

    def region(self, x1: int, y1: int, x2: int, y2: int) -> Image:
        """Return the pixels of a rectangle inside the frame, (y2 - y1, x2 - x1, 3) uint8 BGR.

        With ``convert="planes"`` only the rectangle is converted, where the pixel format allows it.
        """
        if self._convert == "frame" or self._bgr is not None or self.rotation:
            return self.bgr()[y1:y2, x1:x2]
        subsampling = _SUBSAMPLING.get(self._picture.format.name)
        if subsampling is None:
            return self.bgr()[y1:y2, x1:x2]
        return self._region_of_planes(x1, y1, x2, y2, subsampling)

    def _region_of_planes(self, x1: int, y1: int, x2: int, y2: int, subsampling: tuple[int, int]) -> Image:
        across, down = subsampling
        left, top = x1 - x1 % across, y1 - y1 % down
        width = min(-(-(x2 - left) // across) * across, self.width - left)
        height = min(-(-(y2 - top) // down) * down, self.height - top)
        part = av.VideoFrame(width, height, self._picture.format.name)
        part.colorspace, part.color_range = self._picture.colorspace, self._picture.color_range
        for place, (source, target) in enumerate(zip(self._picture.planes, part.planes, strict=True)):
            step_x, step_y = subsampling if place else (1, 1)
            rows, columns = -(-height // step_y), -(-width // step_x)
            row, column = top // step_y, left // step_x
            _pixels(target)[:rows, :columns] = _pixels(source)[row : row + rows, column : column + columns]
        pixels: Image = part.reformat(format="bgr24", interpolation=_OPENCVS).to_ndarray()
        return pixels[y1 - top : y2 - top, x1 - left : x2 - left]

    def _upright(self, pixels: Any) -> Image:
        turn = _ROTATIONS.get(self.rotation)
        upright: Image = pixels if turn is None else cv2.rotate(pixels, turn)
        return upright


class FrameReader(Iterator[SampledFrame]):
    """Iterates over the sampled frames of one video.

    Attributes:
        decoded: frames that the decoder gave so far, sampled or not.
        lost: after the last frame: indices that should have been sampled and could not be decoded, because the file
            is damaged or its tail is missing.
    """

    def __init__(self, path: Path, *, step: int, offset: int, max_frames: int | None, convert: Convert) -> None:
        self.path = path
        self.decoded = 0
        self.lost: tuple[int, ...] = ()
        self._convert = convert
        self._scan = _scan(path)
        stop = None if max_frames is None else offset + step * max_frames
        self._wanted = slice(offset, stop, step)
        self._damaged = False
        self._frames = self._read()

    def __next__(self) -> SampledFrame:
        """Decode up to the next sampled frame.

        Raises:
            MediaError: the file could be opened, and not one frame could be decoded.
        """
        return next(self._frames)

    def _read(self) -> Iterator[SampledFrame]:
        done = -1
        found: set[int] = set()
        try:
            ways = [self._decode_needed, self._decode_all] if self._scan.numbered else [self._decode_all]
            for way in ways:
                try:
                    for frame in way():
                        if frame.index > done:
                            done = frame.index
                            found.add(done)
                            yield frame
                    break
                except _OutOfOrderError:
                    continue
        except av.FFmpegError as error:
            message = f"{self.path.name}: cannot be decoded ({_reason(error)})."
            raise MediaError(message) from error
        if not self.decoded:
            message = f"{self.path.name}: no frame of it can be decoded; the file is damaged."
            raise MediaError(message)
        expected = range(self._scan.expected)[self._wanted] if self._scan.numbered or self._damaged else range(0)
        self.lost = tuple(index for index in expected if index not in found)

    def _decode_needed(self) -> Iterator[SampledFrame]:
        """Decode reference frames and sampled frames only, numbered by their timestamps."""
        stamps = self._scan.stamps
        wanted = range(len(stamps))[self._wanted]
        reformatter = VideoReformatter()
        last = -1
        with _opened(self.path) as (container, stream):
            for packet in self._packets(container, stream):
                if packet.size and _is_disposable(packet, self._scan.length_bytes):
                    index = bisect_left(stamps, packet.pts)
                    if index not in wanted:
                        continue
                for picture in self._pictures(packet):
                    index = bisect_left(stamps, picture.pts) if picture.pts is not None else len(stamps)
                    if index <= last or index == len(stamps) or stamps[index] != picture.pts:
                        raise _OutOfOrderError
                    last = index
                    if index in wanted:
                        yield self._sampled(picture, index, reformatter)
                    if not wanted or index >= wanted[-1]:
                        return

    def _decode_all(self) -> Iterator[SampledFrame]:
        """Decode every frame and number them as they come, as ``cv2.VideoCapture`` does."""
        reformatter = VideoReformatter()
        offset, stop, step = self._wanted.start, self._wanted.stop, self._wanted.step
        index = 0
        with _opened(self.path) as (container, stream):
            for packet in self._packets(container, stream):
                for picture in self._pictures(packet):
                    if index >= offset and (index - offset) % step == 0:
                        yield self._sampled(picture, index, reformatter)
                    index += 1
                    if stop is not None and index > stop - step:
                        return
        self._damaged |= self._scan.packets < self._scan.declared

    def _packets(self, container: Any, stream: Any) -> Iterator[Any]:
        try:
            yield from container.demux(stream)
        except av.FFmpegError:
            self._damaged = True

    def _pictures(self, packet: Any) -> list[Any]:
        try:
            pictures: list[Any] = packet.decode()
        except av.FFmpegError:
            self._damaged = True
            return []
        self.decoded += len(pictures)
        return pictures

    def _sampled(self, picture: av.VideoFrame, index: int, reformatter: VideoReformatter) -> SampledFrame:
        seconds = picture.time if picture.time is not None else index / (self._scan.fps or 25.0)
        return SampledFrame(
            picture, index=index, seconds=float(seconds), convert=self._convert, reformatter=reformatter
        )


def iter_frames(
    path: Path, *, step: int, offset: int = 0, max_frames: int | None = None, convert: Convert = "frame"
) -> FrameReader:
    """Decode every ``step``-th frame of a video, starting with frame ``offset``.

    A damaged file gives what can be decoded of it; ``FrameReader.lost`` then names the sampled frames that are missing.

    Args:
        path: the video.
        step: distance of the sampled frames.
        offset: index of the first one.
        max_frames: stop after this many; None: go to the end.
        convert: ``frame`` or ``planes``, see ``SampledFrame.region``.

    Raises:
        MediaError: it is no video, is empty, or nothing of it can be decoded.
    """
    return FrameReader(path, step=step, offset=offset, max_frames=max_frames, convert=convert)


def shrunk(frame: Image, longest_side: int) -> Image:
    """Return the frame shrunk by area to ``longest_side`` pixels; as it is when not larger, or for a side of zero."""
    scale = longest_side / max(frame.shape[:2])
    if longest_side == 0 or scale >= 1.0:
        return frame
    width, height = (max(1, round(side * scale)) for side in (frame.shape[1], frame.shape[0]))
    image: Image = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
    return image


class _OutOfOrderError(Exception):
    """The decoder gave a frame that the timestamps do not announce; number them by counting instead."""


@dataclass(frozen=True)
class _Scan:
    """What the packets of a video say without being decoded."""

    codec: str
    pix_fmt: str
    fps: float
    duration: float
    declared: int
    packets: int
    stamps: "array[int]"
    numbered: bool
    length_bytes: int

    @property
    def expected(self) -> int:
        return max(self.declared, self.packets)


def _scan(path: Path) -> _Scan:
    stamps = array("q")
    packets = 0
    trusted = True
    with _opened(path) as (container, stream):
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
        ordered = np.sort(np.frombuffer(stamps, dtype=np.int64))
        numbered = bool(length_bytes and trusted and (np.diff(ordered) > 0).all())
        return _Scan(
            codec=stream.codec_context.name,
            pix_fmt=stream.codec_context.pix_fmt or "",
            fps=float(stream.average_rate or stream.guessed_rate or 0),
            duration=_duration(container, stream),
            declared=stream.frames,
            packets=packets,
            stamps=array("q", ordered.tobytes()) if numbered else array("q"),
            numbered=numbered,
            length_bytes=length_bytes,
        )


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    if not path.is_file():
        message = f"{path}: there is no such file."
        raise MediaError(message)
    try:
        # The prefix and the whitelist keep hostile names and playlists from reaching other files or hosts.
        container = av.open(f"file:{path.resolve()}", options={"protocol_whitelist": "file"})
    except av.FFmpegError as error:
        what = "is empty" if path.stat().st_size == 0 else f"is not a video that can be opened ({_reason(error)})"
        message = f"{path.name}: {what}."
        raise MediaError(message) from error
    with container:
        if any(mark in container.format.name for mark in _STILL_IMAGES):
            message = f"{path.name}: is a still image ({container.format.name}), not a video."
            raise MediaError(message)
        streams = [stream for stream in container.streams.video if not _is_cover(stream)]
        if not streams:
            message = f"{path.name}: holds no video stream, only {_kinds(container)}."
            raise MediaError(message)
        stream = streams[0]
        # One thread: workers are the parallelism, and frame threads would hold more frames in memory.
        stream.thread_type = "NONE"
        stream.codec_context.thread_count = 1
        yield container, stream


def _is_cover(stream: Any) -> bool:
    return bool(stream.disposition & stream.disposition.attached_pic)


def _kinds(container: Any) -> str:
    return ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"


def _duration(container: Any, stream: Any) -> float:
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return float(container.duration / av.time_base) if container.duration else 0.0


def _reason(error: av.FFmpegError) -> str:
    return error.strerror or str(error)


def _length_bytes(stream: Any) -> int:
    """Return how many bytes the length of a NAL unit has in H.264 of the MP4 kind (AVCC); 0 for anything else."""
    header = stream.codec_context.extradata
    if stream.codec_context.name != "h264" or not header or len(header) < 7 or header[0] != 1:
        return 0
    return int(header[4] & 3) + 1


def _is_disposable(packet: Any, length_bytes: int) -> bool:
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


def _pixels(plane: Any) -> Image:
    """Return an 8-bit plane with its padding, (height, line size) uint8, without copying."""
    return np.frombuffer(plane, dtype=np.uint8).reshape(plane.height, plane.line_size)
