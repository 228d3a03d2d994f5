"""Extraction against the notebook's way and against the decode-only floor: ratios of CPU seconds, measured in one run.

    DEEPFAKE_REAL_DATA=../shared python benchmarks/extract.py [--videos 8] [--frames 60]

Every contestant does the same sampled frames of the same real videos, video by video in turn, in one process. The
notebook's way is re-implemented from its description: read every frame with OpenCV, ask YOLOv8 for persons on every
fourth one, one call a frame, cut out the largest, stretch it to 299 × 299, write a JPEG file. Its shares by stage are
printed so that the baseline can be believed: detection about 62 %, read and convert about 35 %.
"""

import argparse
import math
import os
import resource
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import torch
from ultralytics import YOLO

from deepfake_core import files
from deepfake_core.config import DetectorConfig, ExtractConfig
from deepfake_core.data.extraction import VideoJob, WorkerSetup, extract_video, open_detector
from deepfake_core.faces.video import Image, iter_frames, probe_video
from deepfake_core.faces.workers import supervise
from deepfake_core.specs import FaceSpec, SamplingSpec

STEP = 4
WORKERS_SECONDS = 60.0
"""Least CPU time of a comparison of workers: the start of a process with PyTorch costs several seconds of its own."""
SIZE = 299
MARGIN = 1.3
OFFSETS = {"c23": 0, "c40": 2}
ULTRALYTICS_THREADS = min(8, max(1, (os.cpu_count() or 1) - 1))
"""What Ultralytics sets by itself, and so the notebook has; our workers are one thread each."""

Corners = tuple[float, float, float, float]


@dataclass(frozen=True)
class Clip:
    """A real video, and how many of its frames are looked at."""

    path: Path
    compression: str
    height: int
    frames: int

    @property
    def offset(self) -> int:
        """Index of the first sampled frame."""
        return OFFSETS[self.compression]

    @property
    def place(self) -> Path:
        """Where its results go, below a contestant's folder."""
        return Path(self.compression, self.path.parents[2].name, self.path.stem)


class Clock:
    """CPU seconds by clip and stage."""

    def __init__(self) -> None:
        self.seconds: dict[tuple[Clip, str], float] = defaultdict(float)

    @contextmanager
    def stage(self, clip: Clip, name: str) -> Iterator[None]:
        """Count the CPU time of a block."""
        began = time.process_time()
        yield
        self.seconds[clip, name] += time.process_time() - began

    def of_clips(self, clips: Sequence[Clip]) -> float:
        """Return the seconds of some clips."""
        return sum(seconds for (clip, _), seconds in self.seconds.items() if clip in clips)

    def by_stage(self) -> dict[str, float]:
        """Return the seconds of each stage."""
        stages: dict[str, float] = defaultdict(float)
        for (_, stage), seconds in self.seconds.items():
            stages[stage] += seconds
        return stages


class Notebook:
    """The notebook's way, as it is described."""

    name = "the notebook's way"

    def __init__(self, weights: Path, folder: Path) -> None:
        self.model = YOLO(str(weights))
        self.folder = folder
        self.clock = Clock()
        self.model(np.zeros((720, 1280, 3), np.uint8), verbose=False)

    def run(self, clip: Clip) -> None:
        """Write the crops of one clip."""
        torch.set_num_threads(ULTRALYTICS_THREADS)
        folder = self.folder / clip.place
        folder.mkdir(parents=True, exist_ok=True)
        capture = cv2.VideoCapture(str(clip.path))
        for index in range(clip.offset + STEP * (clip.frames - 1) + 1):
            with self.clock.stage(clip, "read and convert"):
                there, frame = capture.read()
            if not there:
                break
            if index < clip.offset or (index - clip.offset) % STEP:
                continue
            with self.clock.stage(clip, "detect"):
                box = self.largest_person(frame)
            if box is not None:
                with self.clock.stage(clip, "crop and write"):
                    write_stretched(frame, box, folder / f"{index}.jpg")
        capture.release()

    def largest_person(self, frame: Image) -> Corners | None:
        """Return the corners of the largest box of class 0."""
        boxes = self.model(frame, verbose=False)[0].boxes
        persons: list[Corners] = [tuple(box.xyxy[0].tolist()) for box in boxes if int(box.cls[0]) == 0]
        return max(persons, key=lambda box: (box[2] - box[0]) * (box[3] - box[1]), default=None)


def write_stretched(frame: Image, box: Corners, path: Path) -> None:
    """Widen a box, clip it to the frame, stretch it to the crop's size, write a JPEG file."""
    x1, y1, x2, y2 = box
    centre_x, centre_y = (x1 + x2) / 2, (y1 + y2) / 2
    half_width, half_height = (x2 - x1) * MARGIN / 2, (y2 - y1) * MARGIN / 2
    left, top = max(0, int(centre_x - half_width)), max(0, int(centre_y - half_height))
    right = min(frame.shape[1], int(centre_x + half_width))
    bottom = min(frame.shape[0], int(centre_y + half_height))
    cv2.imwrite(str(path), cv2.resize(frame[top:bottom, left:right], (SIZE, SIZE)), [cv2.IMWRITE_JPEG_QUALITY, 95])


class Ours:
    """The platform's extraction of a clip into its faces file, in this process."""

    def __init__(self, name: str, *, detector: DetectorConfig, face: FaceSpec, folder: Path) -> None:
        assert detector.weights is not None
        self.name = name
        self.folder = folder / name.replace(" ", "_")
        self.clock = Clock()
        spec = detector.spec(files.sha256_of_file(detector.weights))
        self.setup = WorkerSetup(ExtractConfig(detector=detector, face=face), spec, detector.weights)
        self.state = open_detector(self.setup)

    def run(self, clip: Clip) -> None:
        """Write the faces file of one clip."""
        state = replace(self.state, config=self.config_for(clip.frames))
        with self.clock.stage(clip, "all"):
            extract_video(state, self.job(clip))

    def config_for(self, frames: int) -> ExtractConfig:
        """Return the configuration that samples so many frames."""
        sampling = SamplingSpec(step=STEP, offsets=OFFSETS, max_frames=frames)
        return self.setup.config.model_copy(update={"sampling": sampling})

    def job(self, clip: Clip) -> VideoJob:
        """Return the work on one clip."""
        output = self.folder / clip.place.with_suffix(".parquet")
        return VideoJob(clip.path.stem, clip.path, None, clip.offset, "benchmark", output)


class Floor:
    """Decode the sampled frames, packets dropped, no colour conversion: what no extraction can do without."""

    name = "floor: decode only"

    def __init__(self) -> None:
        self.clock = Clock()

    def run(self, clip: Clip) -> None:
        """Decode one clip."""
        with self.clock.stage(clip, "decode"):
            for _ in iter_frames(clip.path, step=STEP, offset=clip.offset, max_frames=clip.frames):
                pass


def main() -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--videos", type=int, default=8, help="real videos, evenly over all (default 8)")
    parser.add_argument("--frames", type=int, default=60, help="sampled frames of each (default 60)")
    arguments = parser.parse_args()
    real = os.environ.get("DEEPFAKE_REAL_DATA")
    if not real:
        print("DEEPFAKE_REAL_DATA is not set: no real videos to measure on.")
        return
    models = Path(real).resolve() / "models"
    clips = choose_clips(Path(real).resolve() / "data" / "ffpp", arguments.videos, arguments.frames)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        notebook = Notebook(models / "yolov8n.pt", Path(folder) / "notebook")
        ours = contestants(models, Path(folder))
        compare(notebook, ours, clips)
        compare_workers(notebook, ours, clips)


def choose_clips(root: Path, videos: int, frames: int) -> list[Clip]:
    """Take videos evenly from the largest to the smallest, half of them c23 and half c40."""
    clips = []
    for compression in OFFSETS:
        paths = sorted(root.glob(f"*/*/{compression}/videos/*.mp4"), key=lambda path: (-path.stat().st_size, str(path)))
        count = min(-(-videos // 2), len(paths))
        chosen = [paths[place * len(paths) // count] for place in range(count)]
        clips += [Clip(path, compression, probe_video(path).height, frames) for path in chosen]
    return clips


def contestants(models: Path, folder: Path) -> list[Ours]:
    """Return the ways to extract that have a figure to reach."""
    person = DetectorConfig(
        name="yolo", weights=models / "yolov8n.pt", input_side=640, min_confidence=0.25, main_face="largest"
    )
    yunet = DetectorConfig(name="yunet", weights=models / "face_detection_yunet_2023mar.onnx", input_side=320)
    every_second = yunet.model_copy(update={"detect_every": 2})
    stretched, planes = FaceSpec(square=False, interpolation="linear"), FaceSpec(convert="planes")
    return [
        Ours("yolo as the notebook", detector=person, face=stretched, folder=folder),
        Ours("yunet, whole frames", detector=yunet, face=FaceSpec(), folder=folder),
        Ours("yunet, planes", detector=yunet, face=planes, folder=folder),
        Ours("yunet, planes, detect_every 2", detector=every_second, face=planes, folder=folder),
    ]


def compare(notebook: Notebook, ours: Sequence[Ours], clips: Sequence[Clip]) -> None:
    """Run everybody clip by clip, in turn, and print the ratios."""
    everybody = [notebook, *ours, floor := Floor()]
    for clip in {clip.height: replace(clip, frames=5) for clip in clips}.values():
        for (
            contestant
        ) in everybody:  # PyTorch compiles for each size of picture and batch; a run of hours does not feel it
            contestant.run(clip)
    for contestant in everybody:
        contestant.clock = Clock()
    for clip in clips:
        for contestant in everybody:
            contestant.run(clip)
    print("the notebook's CPU time by stage")
    stages = notebook.clock.by_stage()
    for stage, seconds in stages.items():
        print(f"  {stage:<18}{seconds / sum(stages.values()):6.1%}")
    groups = {
        "all clips": clips,
        "c23 up to 720 lines": [clip for clip in clips if clip.compression == "c23" and clip.height <= 720],
        "1080 lines": [clip for clip in clips if clip.height > 720],
    }
    for title, group in groups.items():
        if group:
            print(f"\n{f'{title} ({len(group)})':<34}{'CPU s':>8}{'less than notebook':>22}{'of the floor':>16}")
            for contestant in everybody:
                seconds = contestant.clock.of_clips(group)
                less, more = notebook.clock.of_clips(group) / seconds, seconds / floor.clock.of_clips(group)
                print(f"{contestant.name:<34}{seconds:8.2f}{less:20.2f} ×{more:14.2f} ×")
    print_identity(notebook, ours[0], clips)


def print_identity(notebook: Notebook, exact: Ours, clips: Sequence[Clip]) -> None:
    """Say how many of the notebook's JPEG files the same detector gives byte for byte."""
    same = total = 0
    for clip in clips:
        rows = pq.read_table(exact.job(clip).output, columns=["frame", "jpeg"]).to_pylist()
        crops = {row["frame"]: row["jpeg"] for row in rows}
        for path in (notebook.folder / clip.place).glob("*.jpg"):
            total += 1
            same += crops.get(int(path.stem)) == path.read_bytes()
    print(f"\nJPEGs byte-identical to the notebook's: {same} of {total} ({same / max(total, 1):.1%})")


def compare_workers(notebook: Notebook, ours: Sequence[Ours], clips: list[Clip]) -> None:
    """Print what two worker processes cost and bring against one, and against the notebook's single process."""
    began = time.monotonic()
    for clip in clips:
        notebook.run(clip)
    alone = time.monotonic() - began
    for contestant in (ours[0], ours[2]):
        (cpu_one, wall_one), (cpu_two, wall_two) = (with_workers(contestant, clips, count) for count in (1, 2))
        print(
            f"{contestant.name}: two workers take {cpu_two / cpu_one:.2f} × the CPU of one, and "
            f"{wall_one / wall_two:.2f} × less wall time than one, {alone / wall_two:.2f} × less than the notebook"
        )


def with_workers(contestant: Ours, clips: list[Clip], workers: int) -> tuple[float, float]:
    """Return CPU and wall seconds of all clips in so many worker processes.

    The start of the processes is included; the clips are done often enough that it does not decide.
    """
    rounds = math.ceil(WORKERS_SECONDS / contestant.clock.of_clips(clips))
    began, before = time.monotonic(), children_seconds()
    setup = replace(contestant.setup, config=contestant.config_for(clips[0].frames))
    outcomes = supervise(
        [(str(clip.place), contestant.job(clip)) for clip in clips * rounds],
        function=extract_video,
        setup=open_detector,
        setup_argument=setup,
        workers=workers,
        seconds_per_job=600,
        memory_mb=4096,
    )
    assert all(outcome.status == "ok" for outcome in outcomes)
    return (children_seconds() - before) / rounds, (time.monotonic() - began) / rounds


def children_seconds() -> float:
    """Return the CPU seconds of all child processes that ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
