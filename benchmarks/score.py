"""Scoring against the notebook's way and against the decode-only floor: ratios of CPU seconds, measured in one run.

    DEEPFAKE_REAL_DATA=../shared python benchmarks/score.py [--videos 2] [--frames 32]

The notebook's way, re-implemented from its description: read every frame with OpenCV, detect on each, one call a
frame, crop, ``model.predict`` of one image. It gets our detector, which is several times cheaper than its own, so its
figure is flattering. It does the first ``--frames`` frames of a video, the platform all of them; what is compared is
CPU milliseconds a frame of video. The model is an untrained Xception at 299 pixels: weights do not change the time.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import onnx

from deepfake_core import contract
from deepfake_core.config import TrainConfig
from deepfake_core.contract import ModelContract, Threshold
from deepfake_core.faces.crop import WholeImage, crop_face
from deepfake_core.faces.detector import build_detector
from deepfake_core.faces.video import iter_frames, probe_video
from deepfake_core.faces.weights import YUNET_SHA256
from deepfake_core.model.onnx_graph import convert_to_onnx
from deepfake_core.model.xception import build_model
from deepfake_core.serving.cropping import CropJob, CropSetup, crop_video, open_cropper
from deepfake_core.serving.score import score_crops
from deepfake_core.serving.session import Scorer
from deepfake_core.specs import DetectorSpec, FaceSpec

FACE = FaceSpec(size=299, convert="planes")
DETECTOR = DetectorSpec(name="yunet", weights_sha256=YUNET_SHA256, input_side=320)
STEP = 4


@dataclass(frozen=True)
class Bench:
    """What all contestants share."""

    model: keras.Model
    onnx: Path
    weights: Path
    scratch: Path
    frames: int

    def notebook(self, video: Path) -> int:
        """Score each of the first frames alone; return how many frames of video that were."""
        detector = build_detector(DETECTOR, weights=self.weights)
        capture = cv2.VideoCapture(str(video))
        done = 0
        while done < self.frames and (read := capture.read())[0]:
            (boxes,) = detector.detect([read[1]])
            if boxes:
                largest = max(boxes, key=lambda box: box.area)
                crop = crop_face(WholeImage(read[1]), largest, face=FACE.model_copy(update={"square": False}))
                self.model.predict(crop[None, ..., ::-1].astype(np.float32), verbose=0)
            done += 1
        capture.release()
        return done

    def platform(self, video: Path) -> int:
        """Score a video as a worker and the scoring process do together."""
        cropper = open_cropper(CropSetup(FACE, DETECTOR, STEP, self.weights, "cpu"))
        scorer = Scorer.open(self.onnx, threads=1)
        score_crops(crop_video(cropper, CropJob(video, self.scratch / "crops.parquet")), scorer=scorer)
        return probe_video(video).frames

    def faces(self, video: Path) -> int:
        """Do the platform's share without the model."""
        cropper = open_cropper(CropSetup(FACE, DETECTOR, STEP, self.weights, "cpu"))
        crop_video(cropper, CropJob(video, self.scratch / "crops.parquet"))
        return probe_video(video).frames

    def floor(self, video: Path) -> int:
        """Decode the sampled frames and do nothing with them."""
        for _ in iter_frames(video, step=STEP, convert="planes"):
            pass
        return probe_video(video).frames


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=2, help="real c23 videos")
    parser.add_argument("--frames", type=int, default=32, help="frames a video that the notebook's way does")
    options = parser.parse_args(arguments)
    data = os.environ.get("DEEPFAKE_REAL_DATA")
    if not data:
        print("set DEEPFAKE_REAL_DATA to the folder that holds data/ffpp and models", file=sys.stderr)
        return 2
    videos = sorted(Path(data).glob("data/ffpp/original_sequences/youtube/c23/videos/*.mp4"))[: options.videos]
    with tempfile.TemporaryDirectory() as scratch:
        model = build_model(TrainConfig(architecture="xception"), size=FACE.size)
        bench = Bench(
            model=model,
            onnx=write_model(model, Path(scratch) / "model.onnx"),
            weights=Path(data) / "models" / "face_detection_yunet_2023mar.onnx",
            scratch=Path(scratch),
            frames=options.frames,
        )
        model.predict(np.zeros((1, FACE.size, FACE.size, 3), np.float32), verbose=0)  # tracing is not scoring
        contestants: dict[str, Callable[[Path], int]] = {
            "notebook: every frame, predict of one": bench.notebook,
            f"platform: every {STEP}th frame, batches": bench.platform,
            "of which faces": bench.faces,
            "floor: decode alone": bench.floor,
        }
        show({name: measure(contestant, videos) for name, contestant in contestants.items()})
    return 0


def measure(contestant: Callable[[Path], int], videos: Sequence[Path]) -> float:
    """Return CPU milliseconds a frame of video, over all threads of this process."""
    began = time.process_time()
    frames = sum(contestant(video) for video in videos)
    return (time.process_time() - began) * 1000 / frames


def show(milliseconds: dict[str, float]) -> None:
    """Print the contestants side by side, each as a ratio to the first and to the last."""
    first, last = next(iter(milliseconds.values())), next(islice(reversed(milliseconds.values()), 1))
    print(f"{'':40} {'CPU ms/frame':>12} {'× cheaper':>10} {'× floor':>8}")
    for name, value in milliseconds.items():
        print(f"{name:40} {value:12.2f} {first / value:10.1f} {value / last:8.1f}")
    print(f"Of the platform's ratio, {STEP} × is sampling alone: the model sees a face of every {STEP}th frame.")


def write_model(model: Any, path: Path) -> Path:
    """Export ``model`` with a contract, untrained as it is."""
    graph = convert_to_onnx(model)
    fixed = Threshold(value=0.5, chosen_by="fixed")
    card = ModelContract(
        name="xception",
        face=FACE,
        detector=DETECTOR,
        frame_step=STEP,
        aggregation="mean_logit",
        frame_threshold=fixed,
        video_threshold=fixed,
        training_groups=(),
        test_groups=(),
        dataset_digest="0" * 64,
        graph_sha256=contract.graph_sha256(graph),
    )
    contract.embed(graph, card)
    onnx.save(graph, str(path))
    return path


if __name__ == "__main__":
    sys.exit(main())
