"""The detectors behind the one interface: those that need no download, and what is refused."""

import builtins
import importlib
import sys

import numpy as np
import onnx
import pytest

from deepfake_core.config import SampleConfig
from deepfake_core.errors import ConfigError, WeightsError
from deepfake_core.faces.detector import build_detector, detection_side
from deepfake_core.faces.haar import HaarDetector
from deepfake_core.faces.video import iter_frames
from deepfake_core.sample import generate_sample
from deepfake_core.specs import DetectorSpec, FaceSpec

HAAR = DetectorSpec(name="haar", input_side=0, min_face=0.3)


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    """Return a frame that shows one generated head."""
    folder = tmp_path_factory.mktemp("sample")
    config = SampleConfig(identities=6, frames=4, width=224, height=160, methods=(), compressions=("c23",), workers=1)
    generate_sample(folder, config=config)
    video = min(folder.rglob("original_sequences/**/*.mp4"))
    return next(iter_frames(video, step=1)).bgr()


@pytest.mark.parametrize("side", [0, 224])
def test_haar_finds_a_head_and_says_where_it_is_in_the_frame(head, side):
    detector = build_detector(HAAR.model_copy(update={"input_side": side}), weights=None)

    (boxes,) = detector.detect([head])

    assert len(boxes) == 1
    assert boxes[0].height > 0.25 * head.shape[0]
    assert boxes[0].confidence == 1.0
    assert boxes[0].landmarks is None


def test_haar_finds_nobody_in_an_empty_room():
    assert HaarDetector(HAAR).detect([np.full((240, 320, 3), 90, np.uint8)] * 2) == [[], []]


def test_haar_drops_faces_that_are_too_small(head):
    small = np.full((head.shape[0] * 3, head.shape[1] * 3, 3), 90, np.uint8)
    small[: head.shape[0], : head.shape[1]] = head

    assert HaarDetector(HAAR).detect([small]) == [[]]


def test_detectors_with_weights_refuse_to_do_without(tmp_path):
    with pytest.raises(WeightsError, match="'yunet' needs its weights"):
        build_detector(DetectorSpec(name="yunet"), weights=None)
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(WeightsError, match="no YuNet model"):
        build_detector(DetectorSpec(name="yunet"), weights=broken)


def test_another_network_is_no_yunet(tmp_path):
    weights = tmp_path / "other.onnx"
    image = onnx.helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, [1, 3, 640, 640])
    same = onnx.helper.make_tensor_value_info("same", onnx.TensorProto.FLOAT, [1, 3, 640, 640])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["image"], ["same"])], "other", [image], [same])
    onnx.save(onnx.helper.make_model(graph, ir_version=10), weights)

    with pytest.raises(WeightsError, match=r"no YuNet model .* found same"):
        build_detector(DetectorSpec(name="yunet"), weights=weights)


def test_a_missing_extra_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "deepfake_core.faces.yolo", raising=False)
    really_import = builtins.__import__

    def without_ultralytics(name, *arguments, **options):
        if name.split(".")[0] in {"torch", "ultralytics"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return really_import(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without_ultralytics)
    importlib.invalidate_caches()

    with pytest.raises(ConfigError, match=r"pip install 'deepfake-platform\[yolo\]'"):
        build_detector(DetectorSpec(name="yolo"), weights=tmp_path / "weights.pt")


def test_only_yolo_in_frame_mode_sees_frames_as_they_are():
    yunet, yolo = DetectorSpec(name="yunet", input_side=320), DetectorSpec(name="yolo", input_side=640)
    frame, planes = FaceSpec(), FaceSpec(convert="planes")

    assert detection_side(yunet, frame) == detection_side(yunet, planes) == 320
    assert detection_side(yolo, frame) == 0
    assert detection_side(yolo, planes) == 640
