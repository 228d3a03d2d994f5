"""Labels must be read from faces, and from nothing else; and from faces they must be readable."""

import re
from collections import defaultdict

import av
import cv2
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from deepfake_core.faces.detector import build_detector
from deepfake_core.sample.motion import moments
from deepfake_core.sample.people import person
from deepfake_core.specs import DetectorSpec

SHORTCUT_AUC = 0.65
LEARNABLE_AUC = 0.85


def auc_on_unseen_people(features, labels, pairs):
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, class_weight="balanced"))
    scores = cross_val_predict(
        model, features, labels, groups=pairs, cv=GroupKFold(len(set(pairs))), method="predict_proba"
    )
    return roc_auc_score(labels, scores[:, 1])


@pytest.fixture(scope="module")
def looks(sample):
    """One row a sampled frame: video, frame index, and the frame."""
    return [
        (video, 2 * position, frame) for video in sample.videos() for position, frame in enumerate(video.frames(step=2))
    ]


@pytest.fixture(scope="module")
def boxes(looks):
    detector = build_detector(DetectorSpec(name="haar", min_face=0.3, input_side=0), weights=None)
    return [max(found, key=lambda box: box.x2 - box.x1, default=None) for found in detect(detector, looks)]


def detect(detector, looks):
    return [found for _, _, frame in looks for found in detector.detect([frame])]


def place_of_face(sample, video, index):
    """Return the middle between eyes and mouth, and the head's unit, in pixels."""
    config = sample.config
    one = person(int(video.name[:3]), seed=config.seed)
    size = {"width": config.width, "height": config.height}
    pose = moments(one, frames=config.frames, fps=config.fps, **size)[index].pose
    return np.array([pose.x, pose.y + 0.4 * pose.unit]), pose.unit


def is_right(box, place, unit):
    middle = np.array([(box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2])
    return np.abs(middle - place).max() < 0.6 * unit and 1.3 * unit < box.x2 - box.x1 < 3.0 * unit


def test_the_embedded_detector_finds_the_right_face_in_the_frames(sample, looks, boxes):
    right = [
        box is not None and is_right(box, *place_of_face(sample, video, index))
        for (video, index, _), box in zip(looks, boxes, strict=True)
    ]

    assert np.mean(right) >= 0.95


@pytest.mark.real_data
def test_the_production_detector_finds_the_right_face_too(sample, looks, real_data):
    weights = real_data / "models" / "face_detection_yunet_2023mar.onnx"
    spec = DetectorSpec(name="yunet", weights_sha256=None, input_side=320, min_confidence=0.6)
    few = looks[::6]
    found = detect(build_detector(spec, weights=weights), few)

    right = [
        any(is_right(box, *place_of_face(sample, video, index)) for box in there)
        for (video, index, _), there in zip(few, found, strict=True)
    ]

    assert np.mean(right) >= 0.95


def test_thumbnails_and_mean_colours_do_not_tell_a_fake(looks):
    thumbnails = [cv2.resize(frame, (8, 8), interpolation=cv2.INTER_AREA).ravel() for _, _, frame in looks]
    colours = [frame.mean(axis=(0, 1)) for _, _, frame in looks]
    labels = [video.manipulated for video, _, _ in looks]
    pairs = [video.pair for video, _, _ in looks]

    assert auc_on_unseen_people(np.hstack([thumbnails, colours]), labels, pairs) <= SHORTCUT_AUC


def test_a_marked_background_would_be_noticed(looks):
    thumbnails = []
    for video, _, frame in looks:
        marked = frame.copy()
        marked[:42] = np.clip(marked[:42].astype(np.int16) + 40 * video.manipulated, 0, 255)
        thumbnails.append(cv2.resize(marked, (8, 8), interpolation=cv2.INTER_AREA).ravel())
    labels = [video.manipulated for video, _, _ in looks]
    pairs = [video.pair for video, _, _ in looks]

    assert auc_on_unseen_people(np.array(thumbnails), labels, pairs) > SHORTCUT_AUC


def test_the_faces_tell_a_fake(looks, boxes):
    features, labels, pairs = [], [], []
    for (video, _, frame), box in zip(looks, boxes, strict=True):
        if box is not None:
            features.append(sharpness_by_region(frame, box))
            labels.append(video.manipulated)
            pairs.append(video.pair)

    assert auc_on_unseen_people(np.array(features), labels, pairs) >= LEARNABLE_AUC


def sharpness_by_region(frame, box):
    face = frame[max(int(box.y1), 0) : int(box.y2), max(int(box.x1), 0) : int(box.x2)]
    grey = cv2.resize(cv2.cvtColor(face, cv2.COLOR_BGR2GRAY), (112, 112), interpolation=cv2.INTER_AREA)
    edges = cv2.Laplacian(grey.astype(np.float32), cv2.CV_32F) ** 2
    return np.log1p(cv2.resize(edges, (7, 7), interpolation=cv2.INTER_AREA).ravel())


def test_every_person_is_seen_in_originals_and_fakes_alike(sample):
    seen = defaultdict(set)
    for video in sample.videos():
        seen[video.method, video.compression].add(video.name[:3])

    assert len(seen) == 10
    assert all(targets == seen["youtube", "c23"] and len(targets) == 12 for targets in seen.values())


def container_facts(video):
    """Return all that a container tells of a video, without a look at its pixels."""
    with av.open(str(video.path)) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        options = re.search(rb"x264 - core[^\0]*", video.path.read_bytes())
        return {
            "format": container.format.name,
            "metadata": tuple(sorted({**container.metadata, **stream.metadata}.items())),
            "streams": len(container.streams),
            "codec": (stream.codec_context.name, stream.codec_context.profile, stream.codec_context.max_b_frames),
            "pixels": (stream.width, stream.height, stream.pix_fmt),
            "rate": (stream.average_rate, stream.time_base, stream.frames, stream.duration),
            "key frames": tuple(packet.pts for packet in packets if packet.is_keyframe),
            "times": tuple(sorted(packet.pts for packet in packets)),
            "encoder": options.group() if options else b"",
        }


@pytest.mark.parametrize("compression", ["c23", "c40"])
def test_container_and_encoder_are_the_same_for_originals_and_fakes(sample, compression):
    facts = [container_facts(video) for video in sample.videos() if video.compression == compression]

    assert b"crf=" + {"c23": b"23", "c40": b"40"}[compression] in facts[0]["encoder"]
    assert facts[0]["pixels"] == (448, 336, "yuv420p")
    assert facts[0]["rate"][2] == sample.config.frames
    assert all(fact == facts[0] for fact in facts)
