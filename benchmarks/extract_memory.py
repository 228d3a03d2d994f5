"""Peak memory of an extracting worker: it does not grow with the video.

    python benchmarks/extract_memory.py

Extracts generated videos of 100 and of 3,000 frames, a new process each, with a crop of every sampled frame. The
detector is the Haar cascade, which needs no download; what it finds is replaced by one box a frame.
"""

import multiprocessing
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import av
import numpy as np

from deepfake_core.config import DetectorConfig, ExtractConfig
from deepfake_core.data.extraction import VideoJob, WorkerSetup, extract_video, open_detector
from deepfake_core.faces.box import Box
from deepfake_core.faces.detector import FaceDetector
from deepfake_core.faces.video import Image

FRAMES = (100, 3000)


def main() -> None:
    """Print both peaks and their difference."""
    with tempfile.TemporaryDirectory() as folder:
        peaks = []
        for frames in FRAMES:
            path = long_video(Path(folder) / f"{frames}.mp4", frames)
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                peaks.append(pool.apply(peak_of, (path,)))
    for frames, peak in zip(FRAMES, peaks, strict=True):
        print(f"{frames:>6} frames: {peak:.0f} MiB")
    print(f"{peaks[1] / peaks[0] - 1:+.1%} for {FRAMES[1] // FRAMES[0]} times as many frames")


def long_video(path: Path, frames: int) -> Path:
    """Encode noise over a brightness that changes, 640 × 360."""
    noise = np.random.default_rng(0).integers(0, 60, (8, 360, 640, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "crf": "40"})
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        for index in range(frames):
            pixels = noise[index % 8] + np.uint8(index % 100)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


class AlwaysOneFace:
    """Does a detector's work, and reports one box in every frame, so that every sampled frame gives a crop."""

    batch = 1

    def __init__(self, detector: FaceDetector) -> None:
        self.detector = detector

    def detect(self, frames: Sequence[Image]) -> list[list[Box]]:
        """Look, and report one box a frame."""
        self.detector.detect(frames)
        return [[Box(50.0, 20.0, 150.0, 120.0)] for _ in frames]


def peak_of(path: Path) -> float:
    """Return the peak resident memory of this process, in MiB, after extracting one video (Linux)."""
    config = ExtractConfig(detector=DetectorConfig(name="haar", min_face=0.5))
    state = open_detector(WorkerSetup(config, config.detector.spec(None), None))
    state = replace(state, detector=AlwaysOneFace(state.detector))
    extract_video(state, VideoJob(path.stem, path, None, 0, "memory", path.with_suffix(".parquet")))
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


if __name__ == "__main__":
    main()
