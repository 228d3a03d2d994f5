"""Decode exactly the sampled frames of a video.

In: a path, a step and an offset. Out: a ``SampledFrame`` for every ``step``-th frame, counted as ``cv2.VideoCapture``
counts them, with the pixels that ``cv2.VideoCapture`` gives. Frames are chosen by decoding, never by seeking. (Three
kinds of video look different in OpenCV, which maps wide gamuts and HDR to the screen's colours and garbles interlaced
pictures: see ``SampledFrame.bgr``.)

H.264 marks pictures that no other picture refers to. Those of them that are not sampled never reach the decoder: the
others come out bit-identical, at about half the cost. The frames are numbered by their sorted timestamps, which a first
pass over the packets (without decoding) collects. Where that cannot be trusted - other codecs, byte-stream H.264,
missing, repeated or discarded timestamps, those of the decoding order, a start that does not decode - everything is
decoded.

Memory does not grow with the video, but for eight bytes a frame of timestamps.
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import av
import cv2
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from deepfake_core.errors import MediaError
from deepfake_core.faces.container import is_disposable, opened, reason_of, scan_packets

Image = np.ndarray[Any, np.dtype[np.uint8]]
Convert = Literal["frame", "planes"]

_ROTATIONS = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_CLOCKWISE}
BLOCK = 32
"""Crops are converted in sizes of so many pixels: FFmpeg's tables are kept as long as the size stays the same."""
_OPENCVS = Interpolation.BICUBIC
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
    scan = scan_packets(path)
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
        self, picture: av.VideoFrame, *, index: int, seconds: float, convert: Convert, converters: "_Converters"
    ) -> None:
        self.index = index
        self.seconds = seconds
        self.rotation = round(picture.rotation) % 360
        turned = self.rotation in (90, 270)
        self.width, self.height = (picture.height, picture.width) if turned else (picture.width, picture.height)
        self._picture = picture
        self._convert = convert
        self._converters = converters
        self._bgr: Image | None = None

    def bgr(self) -> Image:
        """Return the whole frame, (height, width, 3) uint8 BGR: the bytes of ``cv2.VideoCapture.read``.

        Where a video says that its primaries or its brightness are those of a wide gamut or HDR, OpenCV maps them to
        the screen's; here the numbers in the file are kept, as a model sees them in any other video. Of interlaced
        pictures OpenCV 4.14 makes a mess; here they are right.

        Raises:
            MediaError: FFmpeg cannot convert its colours.
        """
        if self._bgr is None:
            converted = self._converted(self._converters.whole, self._picture, interpolation=_OPENCVS)
            self._bgr = self._upright(converted)
        return self._bgr

    def forget(self) -> None:
        """Drop the converted frame, three bytes a pixel; it is converted again when somebody looks again."""
        self._bgr = None

    def small(self, longest_side: int) -> Image:
        """Return the frame shrunk by area to ``longest_side`` pixels, uint8 BGR, for detection.

        It is made from the decoded planes, at a quarter of the cost of the whole frame. A frame that is not larger
        (or a ``longest_side`` of zero) is returned as it is.

        Raises:
            MediaError: FFmpeg cannot convert its colours.
        """
        scale = longest_side / max(self.width, self.height)
        if longest_side == 0 or scale >= 1.0:
            return self.bgr()
        width, height = (max(1, round(side * scale)) for side in (self._picture.width, self._picture.height))
        picture = self._picture
        if picture.format.name in _SUBSAMPLING:
            picture = self._shrunk_planes(width, height)
        shrunk = self._converted(
            self._converters.small, picture, width=width, height=height, interpolation=Interpolation.AREA
        )
        return self._upright(shrunk)

    def region(self, x1: int, y1: int, x2: int, y2: int) -> Image:
        """Return the pixels of a rectangle inside the frame, (y2 - y1, x2 - x1, 3) uint8 BGR.

        With ``convert="planes"`` only the rectangle is converted, where the pixel format and the size allow it.

        Raises:
            MediaError: FFmpeg cannot convert its colours.
        """
        if self._convert == "frame" or self._bgr is not None or self.rotation:
            return self.bgr()[y1:y2, x1:x2]
        subsampling = _SUBSAMPLING.get(self._picture.format.name)
        if subsampling is None or self._cuts_colour(*subsampling):
            return self.bgr()[y1:y2, x1:x2]
        return self._region_of_planes(x1, y1, x2, y2, subsampling)

    def _cuts_colour(self, across: int, down: int) -> bool:
        """Say whether the last column or row of colour reaches out of the frame: FFmpeg then stretches all of it."""
        return bool(self._picture.width % across or self._picture.height % down)

    def _shrunk_planes(self, width: int, height: int) -> av.VideoFrame:
        """Shrink brightness by area and colour by the nearest four pixels: two thirds of the cost of FFmpeg's way."""
        part = self._like_picture(width, height, "yuv444p")
        for place, (source, target) in enumerate(zip(self._picture.planes, part.planes, strict=True)):
            pixels = _pixels(source)[:, : source.width]
            if place:
                small = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)
            else:
                small = _by_area(pixels, width, height)
            _pixels(target)[:, :width] = small
        return part

    def _region_of_planes(self, x1: int, y1: int, x2: int, y2: int, subsampling: tuple[int, int]) -> Image:
        across, down = subsampling
        left, right = _widened(x1, x2, step=across, limit=self.width)
        top, bottom = _widened(y1, y2, step=down, limit=self.height)
        width, height = right - left, bottom - top
        part = self._like_picture(width, height, self._picture.format.name)
        for place, (source, target) in enumerate(zip(self._picture.planes, part.planes, strict=True)):
            step_x, step_y = subsampling if place else (1, 1)
            rows, columns = -(-height // step_y), -(-width // step_x)
            row, column = top // step_y, left // step_x
            _pixels(target)[:rows, :columns] = _pixels(source)[row : row + rows, column : column + columns]
        pixels = self._converted(self._converters.part, part, interpolation=_OPENCVS)
        region: Image = pixels[y1 - top : y2 - top, x1 - left : x2 - left]
        return region

    def _converted(self, converter: VideoReformatter, picture: av.VideoFrame, **wanted: Any) -> Image:
        """Convert a picture to BGR; FFmpeg's refusals are those of a bad video, not of a disk."""
        try:
            pixels: Any = converter.reformat(picture, format="bgr24", **wanted).to_ndarray()
        except (av.FFmpegError, ValueError) as error:
            message = f"frame {self.index}: its colours cannot be converted ({reason_of(error)})."
            raise MediaError(message) from error
        image: Image = pixels
        return image

    def _like_picture(self, width: int, height: int, pix_fmt: str) -> av.VideoFrame:
        """Return an empty picture with the colours of this one."""
        part = av.VideoFrame(width, height, pix_fmt)
        part.colorspace, part.color_range = self._picture.colorspace, self._picture.color_range
        return part

    def _upright(self, pixels: Any) -> Image:
        turn = _ROTATIONS.get(self.rotation)
        upright: Image = pixels if turn is None else cv2.rotate(pixels, turn)
        return upright


class FrameReader(Iterator[SampledFrame]):
    """Iterates over the sampled frames of one video.

    Attributes:
        decoded: frames that the decoder gave so far, sampled or not.
        gaps: after the last frame: ranges of the indices that should have been sampled and could not be decoded,
            because the file is damaged or its tail is missing. A damaged header may promise millions of frames.
    """

    def __init__(self, path: Path, *, step: int, offset: int, max_frames: int | None, convert: Convert) -> None:
        self.path = path
        self.decoded = 0
        self.gaps: tuple[range, ...] = ()
        self._convert = convert
        self._scan = scan_packets(path)
        stop = None if max_frames is None else offset + step * max_frames
        self._wanted = slice(offset, stop, step)
        self._numbered = self._scan.numbered
        self._damaged = False
        self._frames = self._read()

    @property
    def lost(self) -> tuple[int, ...]:
        """The indices in ``gaps``, in order."""
        return tuple(chain.from_iterable(self.gaps))

    def __next__(self) -> SampledFrame:
        """Decode up to the next sampled frame.

        Raises:
            MediaError: the file could be opened, and not one frame could be decoded.
        """
        return next(self._frames)

    def _read(self) -> Iterator[SampledFrame]:
        gaps: list[range] = []
        upcoming = self._wanted.start
        try:
            for frame in self._decoded_frames():
                if frame.index >= upcoming:
                    if frame.index > upcoming:
                        gaps.append(range(upcoming, frame.index, self._wanted.step))
                    upcoming = frame.index + self._wanted.step
                    yield frame
        except av.FFmpegError as error:
            message = f"{self.path.name}: cannot be decoded ({reason_of(error)})."
            raise MediaError(message) from error
        if not self.decoded:
            message = f"{self.path.name}: no frame of it can be decoded; the file is damaged."
            raise MediaError(message)
        if self._numbered or self._damaged:
            expected = range(self._scan.expected)[self._wanted]
            gaps.append(range(upcoming, expected.stop, expected.step))
        self.gaps = tuple(gaps)

    def _decoded_frames(self) -> Iterator[SampledFrame]:
        """Decode what is needed; from the start, and everything, where the decoder's order contradicts that."""
        if self._numbered:
            try:
                yield from self._decode_needed()
            except _OutOfOrderError:
                self._numbered = False
            else:
                return
        yield from self._decode_all()

    def _decode_needed(self) -> Iterator[SampledFrame]:
        """Decode reference frames and sampled frames only, numbered by their timestamps.

        Where the first picture is not frame 0, the start does not decode (the video was cut out of another one), and
        ``cv2.VideoCapture`` counts from that picture on.
        """
        stamps = self._scan.stamps
        wanted = range(len(stamps))[self._wanted]
        converters = _Converters()
        last = -1
        with opened(self.path) as (container, stream):
            for packet in self._packets(container, stream):
                if packet.size and is_disposable(packet, self._scan.length_bytes):
                    index = bisect_left(stamps, packet.pts)
                    if index not in wanted:
                        continue
                for picture in self._pictures(packet):
                    index = bisect_left(stamps, picture.pts) if picture.pts is not None else len(stamps)
                    unknown = index == len(stamps) or stamps[index] != picture.pts
                    if unknown or index <= last or last < 0 < index:
                        raise _OutOfOrderError
                    last = index
                    if index in wanted:
                        yield self._sampled(picture, index, converters)
                    if not wanted or index >= wanted[-1]:
                        return

    def _decode_all(self) -> Iterator[SampledFrame]:
        """Decode every frame and number them as they come, as ``cv2.VideoCapture`` does."""
        converters = _Converters()
        offset, stop, step = self._wanted.start, self._wanted.stop, self._wanted.step
        index = 0
        with opened(self.path) as (container, stream):
            for packet in self._packets(container, stream):
                for picture in self._pictures(packet):
                    if index >= offset and (index - offset) % step == 0:
                        yield self._sampled(picture, index, converters)
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

    def _sampled(self, picture: av.VideoFrame, index: int, converters: "_Converters") -> SampledFrame:
        seconds = picture.time if picture.time is not None else index / (self._scan.fps or 25.0)
        return SampledFrame(picture, index=index, seconds=float(seconds), convert=self._convert, converters=converters)


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
    return _by_area(frame, width, height)


def _by_area(pixels: Image, width: int, height: int) -> Image:
    """Shrink by area, halving as long as that fits: OpenCV halves several times faster than it does anything else."""
    while all(
        side % 2 == 0 and side // 2 >= target for side, target in zip(pixels.shape, (height, width), strict=False)
    ):
        half = (pixels.shape[1] // 2, pixels.shape[0] // 2)
        pixels = cv2.resize(pixels, half, interpolation=cv2.INTER_AREA)
    small: Image = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    return small


class _Converters:
    """FFmpeg's converters of one video; each remembers its tables as long as its sizes stay the same."""

    def __init__(self) -> None:
        self.whole = VideoReformatter()
        self.small = VideoReformatter()
        self.part = VideoReformatter()


class _OutOfOrderError(Exception):
    """The decoder gave a frame that the timestamps do not announce; number them by counting instead."""


def _widened(start: int, stop: int, *, step: int, limit: int) -> tuple[int, int]:
    """Widen a range, inside 0 to ``limit``, to whole chroma samples and, mostly, to a multiple of ``BLOCK`` pixels."""
    length = min(-(-(stop - start + step - 1) // BLOCK) * BLOCK, limit)
    start = max(0, min(start, limit - length))
    start -= start % step
    return start, max(start + length, stop)


def _pixels(plane: Any) -> Image:
    """Return an 8-bit plane with its padding, (height, line size) uint8, without copying."""
    return np.frombuffer(plane, dtype=np.uint8).reshape(plane.height, plane.line_size)
