"""Faces in the real FaceForensics++ videos: found nearly always, and the notebook's crops byte for byte."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from deepfake_core import files
from deepfake_core.config import DetectorConfig
from deepfake_core.faces.box import Box, overlap
from deepfake_core.faces.crop import crop_rectangle
from deepfake_core.faces.detector import build_detector
from deepfake_core.faces.stream import FaceCrop, iter_faces
from deepfake_core.faces.video import iter_frames, probe_video, shrunk
from deepfake_core.faces.weights import YUNET_SHA256, resolve_weights
from deepfake_core.specs import FaceSpec

pytestmark = pytest.mark.real_data

YUNET = "face_detection_yunet_2023mar.onnx"
SPREAD = 90
"""Distance of the frames that are looked at, where every video is."""


@pytest.fixture
def all_videos(real_data):
    return sorted((real_data / "data" / "ffpp").rglob("videos/*.mp4"))


@pytest.fixture
def detector_of(real_data, tmp_path):
    """Return a function that opens a detector with the weights at hand."""

    def opened(name, weights, *, sha256=None, **settings):
        config = DetectorConfig(name=name, weights=real_data / "models" / weights, sha256=sha256, **settings)
        path, digest = resolve_weights(config, folder=tmp_path / "weights")
        spec = config.spec(digest)
        return spec, build_detector(spec, weights=path, device="cpu", threads=1)

    return opened


@pytest.mark.parametrize("offset", [0, 2])
def test_dropped_packets_change_no_pixel(all_videos, offset):
    for path in all_videos[offset::31]:
        capture, index = cv2.VideoCapture(str(path)), 0
        reader = iter_frames(path, step=4, offset=offset, max_frames=12)
        for frame in reader:
            while index <= frame.index:
                _, reference = capture.read()
                index += 1
            np.testing.assert_array_equal(frame.bgr(), reference)
        assert reader.lost == ()
        assert reader.decoded < 48


def test_planes_stay_within_the_promised_difference(all_videos):
    for path in all_videos[::24]:
        whole = iter_frames(path, step=60, max_frames=3)
        parts = iter_frames(path, step=60, max_frames=3, convert="planes")
        for frame, part in zip(whole, parts, strict=True):
            rectangle = (frame.width // 3 + 1, 31, frame.width // 3 + 302, 332)
            difference = np.abs(part.region(*rectangle).astype(int) - frame.region(*rectangle).astype(int))
            assert difference.mean() <= 1.5


@pytest.mark.parametrize(("side", "sure"), [(320, 0.6), (0, 0.3), (161, 0.05)])
def test_yunet_gives_the_boxes_of_opencvs_own_detector(real_data, all_videos, detector_of, side, sure):
    _, detector = detector_of("yunet", YUNET, input_side=side, min_confidence=sure)
    opencv = cv2.FaceDetectorYN.create(str(real_data / "models" / YUNET), "", (32, 32), sure)

    for path in all_videos[side % 7 :: 31]:
        for frame in iter_frames(path, step=100, max_frames=2):
            image = shrunk(frame.bgr(), side)
            np.testing.assert_allclose(rows_of(detector, image), rows_of_opencv(opencv, image), atol=1e-3)


def test_that_comparison_would_notice_a_shift_of_one_pixel(real_data, all_videos, detector_of):
    _, detector = detector_of("yunet", YUNET)
    opencv = cv2.FaceDetectorYN.create(str(real_data / "models" / YUNET), "", (32, 32), 0.6)
    image = shrunk(next(iter_frames(all_videos[0], step=1)).bgr(), 320)

    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        np.testing.assert_allclose(
            rows_of(detector, image), rows_of_opencv(opencv, np.roll(image, 1, axis=1)), atol=1e-3
        )


@pytest.mark.slow
def test_yunet_finds_a_face_in_nearly_every_frame_of_every_video(all_videos, detector_of):
    spec, detector = detector_of("yunet", YUNET)
    assert spec.weights_sha256 == YUNET_SHA256

    items = []
    for path in all_videos:
        faces = iter_faces(
            path, detector=detector, face=FaceSpec(convert="planes"), spec=spec, step=SPREAD, max_frames=2
        )
        items += list(faces)

    found = [item for item in items if isinstance(item, FaceCrop)]
    assert len(items) == 2 * len(all_videos)
    assert len(found) / len(items) >= 0.99
    assert min(item.box.confidence for item in found) >= spec.min_confidence
    assert all(item.box.landmarks is not None for item in found)


def test_interpolated_boxes_stay_close_to_detected_ones(all_videos, detector_of):
    spec, detector = detector_of("yunet", YUNET)
    sparse = spec.model_copy(update={"detect_every": 4})
    face = FaceSpec(convert="planes")

    overlaps = []
    for path in all_videos[::24]:
        always = iter_faces(path, detector=detector, face=face, spec=spec, step=4, max_frames=17)
        seldom = iter_faces(path, detector=detector, face=face, spec=sparse, step=4, max_frames=17)
        overlaps += [
            overlap(widened(one, face), widened(other, face)) for one, other in zip(always, seldom, strict=True)
        ]

    assert np.mean(overlaps) >= 0.93
    assert np.min(overlaps) >= 0.75


def test_yolo_gives_the_notebooks_crops_byte_for_byte(real_data, all_videos, detector_of):
    ultralytics = pytest.importorskip("ultralytics", reason="the extra 'yolo' is not installed")
    weights = real_data / "models" / "yolov8n.pt"
    spec, detector = detector_of(
        "yolo",
        "yolov8n.pt",
        sha256=files.sha256_of_file(weights),
        input_side=640,
        min_confidence=0.25,
        main_face="largest",
    )
    model = ultralytics.YOLO(str(weights), verbose=False)
    face = FaceSpec(square=False, interpolation="linear")

    same = total = 0
    for path in all_videos[7::32]:
        faces = iter_faces(path, detector=detector, face=face, spec=spec, step=4, max_frames=8)
        crops = {item.frame: item.jpeg for item in faces if isinstance(item, FaceCrop)}
        for index, jpeg in crops_of_the_notebook(path, model, frames=8):
            total += 1
            same += crops.get(index) == jpeg

    assert total >= 16
    assert same / total >= 0.99


def test_face_weights_of_yolo_give_landmarks(real_data, all_videos, detector_of):
    pytest.importorskip("ultralytics", reason="the extra 'yolo' is not installed")
    weights = real_data / "models" / "yolov8n-face.pt"
    spec, detector = detector_of(
        "yolo", "yolov8n-face.pt", sha256=files.sha256_of_file(weights), input_side=320, min_confidence=0.4
    )
    face = FaceSpec(convert="planes")

    items = list(iter_faces(all_videos[0], detector=detector, face=face, spec=spec, step=40, max_frames=4))

    assert len(items) == 4
    for item in items:
        assert len(item.box.landmarks) == 10
        assert all(item.box.x1 <= x <= item.box.x2 for x in item.box.landmarks[::2])


@pytest.mark.parametrize("dynamic", [True, False])
def test_an_onnx_export_of_yolo_finds_the_faces_of_its_weights(
    real_data, all_videos, detector_of, tmp_path, monkeypatch, dynamic
):
    ultralytics = pytest.importorskip("ultralytics", reason="the extra 'yolo' is not installed")
    weights = tmp_path / "yolov8n-face.pt"
    weights.write_bytes((real_data / "models" / weights.name).read_bytes())
    monkeypatch.chdir(tmp_path)
    exported = Path(
        ultralytics.YOLO(str(weights), verbose=False).export(
            format="onnx", imgsz=320, dynamic=dynamic, simplify=False, verbose=False
        )
    ).resolve()
    frames = [frame.bgr() for frame in iter_frames(all_videos[0], step=60, max_frames=3)]

    found = []
    for path in (weights, exported):
        digest = files.sha256_of_file(path)
        _, detector = detector_of("yolo", path, sha256=digest, input_side=320, min_confidence=0.4)
        found.append(detector.detect(frames))

    for boxes, boxes_of_onnx in zip(*found, strict=True):
        assert len(boxes) == len(boxes_of_onnx) == 1
        assert len(boxes_of_onnx[0].landmarks) == 10
        # An export of one size sees the frame in a square, with more grey around it.
        assert overlap(boxes[0], boxes_of_onnx[0]) > (0.99 if dynamic else 0.9)


def test_a_probe_reads_what_the_header_says(all_videos):
    info = probe_video(all_videos[0])

    assert (info.codec, info.pix_fmt, info.rotation) == ("h264", "yuv444p", 0)
    assert info.duration == pytest.approx(info.frames / info.fps, abs=0.1)


def rows_of(detector, image):
    """Return what a detector finds, in the form of OpenCV's: x, y, width, height, landmarks, score."""
    (found,) = detector.detect([image])
    return np.array([(box.x1, box.y1, box.width, box.height, *box.landmarks, box.confidence) for box in found])


def rows_of_opencv(detector, image):
    detector.setInputSize((image.shape[1], image.shape[0]))
    return detector.detect(image)[1]


def widened(item, face):
    assert isinstance(item, FaceCrop)
    return Box(*crop_rectangle(item.box, face=face, width=item.width, height=item.height))


def crops_of_the_notebook(path: Path, model, *, frames):
    """Yield (index, JPEG bytes) of the largest person of every fourth frame, the notebook's way."""
    capture = cv2.VideoCapture(str(path))
    for index in range(4 * frames):
        there, frame = capture.read()
        assert there
        if index % 4:
            continue
        boxes = model(frame, verbose=False)[0].boxes
        persons = [box.xyxy[0].tolist() for box in boxes if int(box.cls[0]) == 0]
        if not persons:
            continue
        x1, y1, x2, y2 = max(persons, key=lambda box: (box[2] - box[0]) * (box[3] - box[1]))
        half_width, half_height = (x2 - x1) * 1.3 / 2, (y2 - y1) * 1.3 / 2
        left, top = max(0, int((x1 + x2) / 2 - half_width)), max(0, int((y1 + y2) / 2 - half_height))
        right = min(frame.shape[1], int((x1 + x2) / 2 + half_width))
        bottom = min(frame.shape[0], int((y1 + y2) / 2 + half_height))
        crop = cv2.resize(frame[top:bottom, left:right], (299, 299))
        yield index, cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
