"""A model meets at scoring the very pixels that it met in training, bit for bit.

One small data set goes the way of training (videos → faces → records → ``tf.data``) and the way of scoring (videos →
the worker's crops → the session's input); the tensors at both ends are compared face by face. Then either end is
changed a little, and the comparison must notice.
"""

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from deepfake_core import files, receipts
from deepfake_core.config import (
    DetectorConfig,
    DownloadConfig,
    ExtractConfig,
    RecordsConfig,
    SampleConfig,
    SplitConfig,
    ValidateConfig,
)
from deepfake_core.data.download import download_videos
from deepfake_core.data.extract import extract_faces
from deepfake_core.data.reader import read_faces, read_index
from deepfake_core.data.records import write_records
from deepfake_core.data.split import split_videos
from deepfake_core.faces.crop import decode_jpegs
from deepfake_core.report import StageReport
from deepfake_core.sample import generate_sample
from deepfake_core.serving.cropping import CropJob, CropSetup, crop_video, open_cropper
from deepfake_core.serving.session import model_input
from deepfake_core.specs import FaceSpec
from deepfake_core.workspace import Workspace

SAMPLE = SampleConfig(
    identities=6, frames=9, width=320, height=240, methods=("Deepfakes",), compressions=("c23",), workers=1
)
EXTRACT = ExtractConfig(detector=DetectorConfig(name="haar", min_confidence=0.0), face=FaceSpec(size=96), workers=1)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """Return a workspace with records; its gate is another test's matter."""
    workspace = Workspace.open(tmp_path_factory.mktemp("parity") / "workspace")
    generate_sample(workspace.videos, config=SAMPLE)
    download_videos(workspace, config=DownloadConfig(compressions=("c23",), workers=1))
    split_videos(workspace, config=SplitConfig(mode="ratio", counts=(2, 2, 2), seed=1))
    extract_faces(workspace, config=EXTRACT)
    with receipts.open_stage(workspace, "validate", config=ValidateConfig()) as work:
        files.write_json(workspace.reports / "quality.json", {"passed": True})
        work.finish(StageReport(stage="validate"), outputs=[workspace.reports / "quality.json"])
    write_records(workspace, config=RecordsConfig(seed=1))
    return workspace


@pytest.fixture(scope="module")
def trained_on(workspace):
    """Return (video name, frame) → the float32 tensor that a training step takes, before any augmentation."""
    tensors = {}
    for image, _, ids in read_faces(workspace, "train", with_ids=True):
        name = ids["video_id"].numpy().decode().rsplit("/", 1)[-1]
        tensors[name, int(ids["frame"])] = tf.cast(image, tf.float32).numpy()
    assert len(tensors) >= 8
    return tensors


@pytest.fixture
def scored_on(workspace, tmp_path):
    """Return a function that gives (video name, frame) → the float32 tensor that enters the model at scoring."""
    spec = read_index(workspace).spec

    def tensors(*, decode=decode_jpegs, **face):
        setup = CropSetup(
            face=spec.face.model_copy(update=face),
            detector=spec.detector,
            step=spec.sampling.step,
            weights=None,
            device="cpu",
        )
        cropper = open_cropper(setup)
        found = {}
        for video in sorted(workspace.videos.rglob("*.mp4")):
            crops = pq.read_table(crop_video(cropper, CropJob(video, tmp_path / f"{video.stem}.parquet")))
            inputs = model_input(decode(crops["jpeg"].to_pylist()), (0.0, 255.0))
            found |= {(video.stem, frame): one for frame, one in zip(crops["frame"].to_pylist(), inputs, strict=True)}
        return found

    return tensors


def unequal(trained, scored):
    """Return the faces whose tensors are not the same in shape, type and every bit."""
    return [
        face
        for face, tensor in trained.items()
        if face not in scored or tensor.dtype != scored[face].dtype or not np.array_equal(tensor, scored[face])
    ]


def test_scoring_sees_the_very_pixels_of_training(trained_on, scored_on):
    assert unequal(trained_on, scored_on()) == []


def test_the_decoder_that_tensorflow_takes_by_itself_is_noticed(trained_on, scored_on):
    def fast_dct(jpegs):
        return np.stack([tf.io.decode_jpeg(jpeg, channels=3).numpy() for jpeg in jpegs])

    assert unequal(trained_on, scored_on(decode=fast_dct))


def test_channels_in_opencv_order_are_noticed(trained_on, scored_on):
    blue_first = scored_on(decode=lambda jpegs: decode_jpegs(jpegs)[..., ::-1])

    assert len(unequal(trained_on, blue_first)) == len(trained_on)


@pytest.mark.parametrize("change", [{"margin": 1.2}, {"interpolation": "linear"}, {"jpeg_quality": 94}])
def test_another_way_to_crop_is_noticed(trained_on, scored_on, change):
    assert len(unequal(trained_on, scored_on(**change))) == len(trained_on)
