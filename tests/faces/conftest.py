"""Videos of all kinds, and a detector that knows where the face is because the test drew it."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from deepfake_core.faces.box import Box
from deepfake_core.faces.video import iter_frames


def picture(index: int, *, width: int = 160, height: int = 120) -> np.ndarray:
    """Return frame ``index`` of a moving scene, (height, width, 3) uint8 RGB: a gradient and a textured square."""
    across = np.linspace(0, 255, width, dtype=np.float32)[None, :, None]
    down = np.linspace(0, 255, height, dtype=np.float32)[:, None, None]
    scene = np.concatenate([across + 0 * down, down + 0 * across, (across + down) / 2], axis=2)
    scene = ((scene + 5 * index) % 256).astype(np.uint8)
    side = min(width, height) // 3
    left, top = (3 * index) % (width - side), (2 * index) % (height - side)
    texture = np.random.default_rng(index).integers(0, 256, (side, side, 3), dtype=np.uint8)
    scene[top : top + side, left : left + side] = texture
    return scene


@pytest.fixture
def pictures() -> Callable[..., list[np.ndarray]]:
    """Return a function that draws frames."""
    return lambda count, **size: [picture(index, **size) for index in range(count)]


@pytest.fixture
def read_with_opencv() -> Callable[[Path], list[np.ndarray]]:
    """Return a function that reads every frame as the notebook does."""

    def read(path: Path) -> list[np.ndarray]:
        capture = cv2.VideoCapture(str(path))
        frames = []
        while True:
            there, frame = capture.read()
            if not there:
                return frames
            frames.append(frame)

    return read


@pytest.fixture
def hold_against_opencv(read_with_opencv) -> Callable[..., int]:
    """Return a function that compares sampled frames with a full decode by OpenCV, and returns how many that gave."""

    def hold(path: Path, *samplings: tuple[int, int]) -> int:
        reference = read_with_opencv(path)
        for step, offset in samplings:
            reader = iter_frames(path, step=step, offset=offset)
            frames = list(reader)

            assert [frame.index for frame in frames] == list(range(offset, len(reference), step))
            assert reader.lost == ()
            for frame in frames:
                np.testing.assert_array_equal(frame.bgr(), reference[frame.index])
        return len(reference)

    return hold


@pytest.fixture
def write_irregular_video(pictures) -> Callable[..., Path]:
    """Return a function that encodes a video whose frames stand for the given numbers of milliseconds."""

    def write(path: Path, milliseconds: Sequence[int], **options: str) -> Path:
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=25, options=options)
            stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
            moment = 0
            for pixels, duration in zip(pictures(len(milliseconds)), milliseconds, strict=True):
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.pts, frame.time_base = moment, Fraction(1, 1000)
                container.mux(stream.encode(frame))
                moment += duration
            container.mux(stream.encode())
        return path

    return write


@pytest.fixture
def truncated_video(tmp_path, write_video) -> Callable[[Sequence[np.ndarray]], Path]:
    """Return a function that encodes frames, puts the index first, and cuts off the last third of the file."""

    def write(frames: Sequence[np.ndarray]) -> Path:
        whole, front = write_video(tmp_path / "whole.mp4", frames, options={"g": "20"}), tmp_path / "front.mp4"
        with av.open(str(whole)) as source, av.open(str(front), "w", options={"movflags": "+faststart"}) as copy:
            stream = copy.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(source.streams.video[0]):
                if packet.size:
                    packet.stream = stream
                    copy.mux(packet)
        path = tmp_path / "truncated.mp4"
        data = front.read_bytes()
        start = data.index(b"mdat")
        path.write_bytes(data[: start + (len(data) - start) * 2 // 3])
        return path

    return write


class DrawnFaces:
    """A detector for tests: takes blocks of pure blue, green or red for faces, in the order of their area.

    It really looks, so that shrinking, cropping and following are tested on pixels.
    """

    def __init__(self, batch: int = 1) -> None:
        self.batch = batch
        self.calls: list[int] = []

    def detect(self, frames: Sequence[np.ndarray]) -> list[list[Box]]:
        self.calls.append(len(frames))
        return [self._blocks(frame) for frame in frames]

    def _blocks(self, frame: np.ndarray) -> list[Box]:
        boxes = []
        for channel in range(3):
            others = [place for place in range(3) if place != channel]
            mask = (frame[..., channel] > 150) & (frame[..., others].max(axis=2) < 100)
            rows, columns = np.nonzero(mask)
            if len(rows) >= 9:
                left, top, right, bottom = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
                boxes.append(Box(float(left), float(top), float(right), float(bottom), 0.9))
        return sorted(boxes, key=lambda box: -box.area)


@pytest.fixture
def drawn_faces() -> type[DrawnFaces]:
    """Return the detector's class."""
    return DrawnFaces


@pytest.fixture
def draw() -> Callable[..., np.ndarray]:
    """Return a function that draws a grey frame with a block for each given (colour, left, top, side)."""

    def one(*blocks: tuple[str, int, int, int], width: int = 320, height: int = 240) -> np.ndarray:
        pixels = np.full((height, width, 3), 128, np.uint8)
        for colour, left, top, side in blocks:
            channel = {"red": 0, "green": 1, "blue": 2}[colour]
            pixels[top : top + side, left : left + side] = np.eye(3, dtype=np.uint8)[channel] * 255
        return pixels

    return one
