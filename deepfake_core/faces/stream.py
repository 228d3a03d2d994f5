"""A video in, face crops out, in constant memory: what extraction and scoring both run.

Every sampled frame gives exactly one item: a ``FaceCrop``, or a ``FaceFailure`` that says why there is none (no face is
not a face). They come in order, but for frames that could not be decoded: those come last. With ``detect_every: k``
faces are detected on every k-th sampled frame and the boxes between are interpolated; where the two neighbours disagree
(their overlap is below ``NEIGHBOURS_AGREE``, or one of them has no face), the frames between are detected after all.
Of frames so large that k of them do not fit into ``MOST_PIXELS_BETWEEN``, as many as fit take the place of k.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from deepfake_core.faces.box import Box, between, overlap
from deepfake_core.faces.crop import crop_face, encode_jpeg, sharpness_of
from deepfake_core.faces.detector import FaceDetector, detection_side
from deepfake_core.faces.track import FaceTrack, Followed
from deepfake_core.faces.video import FrameReader, SampledFrame, iter_frames
from deepfake_core.specs import DetectorSpec, FaceSpec

NEIGHBOURS_AGREE = 0.6
MOST_PIXELS = 32_000_000
"""Pixels of the frames detected on at once: a batch of 8K frames would not fit into a worker's memory."""
MOST_PIXELS_BETWEEN = 144_000_000
"""Pixels of the decoded frames held from one detection to the next: sixteen frames of 4K, or four of 8K."""


@dataclass(frozen=True)
class FaceCrop:
    """The main face of one sampled frame.

    Attributes:
        frame: index of the frame in display order.
        seconds: its presentation time.
        track: number of the followed face; it grows by one with each jump to another face.
        box: the detector's box in pixels of the frame, before margin and squaring.
        box_source: ``detected`` or ``interpolated``.
        sharpness: variance of the Laplacian of the grey crop.
        width: of the frame, in pixels.
        height: of the frame, in pixels.
        jpeg: the crop.
    """

    frame: int
    seconds: float
    track: int
    box: Box
    box_source: str
    sharpness: float
    width: int
    height: int
    jpeg: bytes


@dataclass(frozen=True)
class FaceFailure:
    """A sampled frame without a crop, and a sentence that says why.

    ``seconds``, ``width`` and ``height`` are zero where the frame could not even be decoded.
    """

    frame: int
    seconds: float
    width: int
    height: int
    reason: str


def iter_faces(
    path: Path,
    *,
    detector: FaceDetector,
    face: FaceSpec,
    spec: DetectorSpec,
    step: int,
    offset: int = 0,
    max_frames: int | None = None,
) -> "FaceStream":
    """Crop the main face of every sampled frame of a video.

    Args:
        path: the video.
        detector: finds the faces; made from ``spec`` by ``build_detector``.
        face: how they are cropped.
        spec: which one is followed, and on which frames faces are detected.
        step: distance of the sampled frames.
        offset: index of the first one.
        max_frames: stop after this many sampled frames; None: go to the end.

    Returns:
        An iterator with the counters ``frames_decoded`` and ``jumps``.

    Raises:
        MediaError: the video cannot be read at all. A damaged one gives what can be decoded, and a ``FaceFailure``
            for each sampled frame that cannot.
    """
    reader = iter_frames(path, step=step, offset=offset, max_frames=max_frames, convert=face.convert)
    return FaceStream(reader, detector=detector, face=face, spec=spec)


class FaceStream(Iterator[FaceCrop | FaceFailure]):
    """Iterates over the items of one video."""

    def __init__(self, reader: FrameReader, *, detector: FaceDetector, face: FaceSpec, spec: DetectorSpec) -> None:
        self._reader = reader
        self._detector = detector
        self._face = face
        self._spec = spec
        self._side = detection_side(spec, face)
        self._track = FaceTrack(spec.main_face)
        self._before: Followed | None = None  # the face in the latest frame that was detected on
        self._items = self._run()

    @property
    def frames_decoded(self) -> int:
        """Frames decoded so far, sampled or not."""
        return self._reader.decoded

    @property
    def jumps(self) -> int:
        """How often, so far, the followed face was lost and another one taken."""
        return self._track.jumps

    def __next__(self) -> FaceCrop | FaceFailure:
        """Return the item of the next sampled frame.

        Raises:
            MediaError: no frame of the video can be decoded.
        """
        return next(self._items)

    def _run(self) -> Iterator[FaceCrop | FaceFailure]:
        for groups in self._batches():
            keys = self._detect([group[-1] for group in groups])
            for group, boxes in zip(groups, keys, strict=True):
                yield from self._items_of(group, boxes)
        for index in chain.from_iterable(self._reader.gaps):
            yield FaceFailure(
                index, 0.0, 0, 0, "the frame cannot be decoded: the file is damaged or its tail is missing"
            )

    def _batches(self) -> Iterator[list[list[SampledFrame]]]:
        """Yield groups of frames, the last of each to be detected on, as many as suit one call of the detector."""
        first = next(self._reader, None)
        if first is None:
            return
        pixels = first.width * first.height
        every = max(1, min(self._spec.detect_every, MOST_PIXELS_BETWEEN // pixels))
        batch = max(1, min(self._detector.batch, MOST_PIXELS // (pixels * every)))
        groups = self._groups(first, every)
        while some := list(islice(groups, batch)):
            yield some

    def _groups(self, first: SampledFrame, every: int) -> Iterator[list[SampledFrame]]:
        """Yield the first frame alone, so that every other one lies between two frames that were looked at."""
        yield [first]
        while frames := list(islice(self._reader, every)):
            yield frames

    def _detect_between(self, frames: Sequence[SampledFrame]) -> Iterator[tuple[SampledFrame, list[Box]]]:
        """Detect on frames that were to be interpolated, no more of them at once than ``MOST_PIXELS``."""
        most = max(1, MOST_PIXELS // (frames[0].width * frames[0].height))
        for start in range(0, len(frames), most):
            some = frames[start : start + most]
            yield from zip(some, self._detect(some), strict=True)

    def _detect(self, frames: Sequence[SampledFrame]) -> list[list[Box]]:
        images = [frame.small(self._side) for frame in frames]
        found = self._detector.detect(images)
        return [
            [box.scaled(frame.width / image.shape[1], frame.height / image.shape[0]) for box in boxes]
            for frame, image, boxes in zip(frames, images, found, strict=True)
        ]

    def _items_of(self, group: Sequence[SampledFrame], boxes: list[Box]) -> Iterator[FaceCrop | FaceFailure]:
        *inner, key = group
        ahead, there = self._track.choose(boxes)
        if inner and self._before and there and _agree(self._before, there):
            for place, frame in enumerate(inner, start=1):
                box = between(self._before.box, there.box, place / len(group))
                yield self._item(frame, Followed(box, there.track), boxes, "interpolated")
        elif inner:
            for frame, found in self._detect_between(inner):
                self._track, chosen = self._track.choose(found)
                yield self._item(frame, chosen, found, "detected")
            ahead, there = self._track.choose(boxes)
        self._track, self._before = ahead, there
        yield self._item(key, there, boxes, "detected")

    def _item(
        self, frame: SampledFrame, chosen: Followed | None, found: Sequence[Box], box_source: str
    ) -> FaceCrop | FaceFailure:
        crop = None if chosen is None else crop_face(frame, chosen.box, face=self._face)
        frame.forget()  # the frames of a group are held together: not with three more bytes a pixel each
        if chosen is None or crop is None:
            reason = "no face was found" if not found else f"the followed face is not among the {len(found)} found"
            return FaceFailure(frame.index, frame.seconds, frame.width, frame.height, reason)
        return FaceCrop(
            frame=frame.index,
            seconds=frame.seconds,
            track=chosen.track,
            box=chosen.box,
            box_source=box_source,
            sharpness=sharpness_of(crop),
            width=frame.width,
            height=frame.height,
            jpeg=encode_jpeg(crop, quality=self._face.jpeg_quality),
        )


def _agree(first: Followed, second: Followed) -> bool:
    return first.track == second.track and overlap(first.box, second.box) >= NEIGHBOURS_AGREE
