"""Real faces from download to reader: each one once, with its identity, in the pixels that scoring sees."""

from collections import defaultdict

import cv2
import numpy as np
import pytest

from deepfake_core import files, receipts, tables
from deepfake_core.config import (
    DetectorConfig,
    DownloadConfig,
    ExtractConfig,
    RecordsConfig,
    SplitConfig,
    ValidateConfig,
)
from deepfake_core.data.download import download_videos
from deepfake_core.data.extract import extract_faces
from deepfake_core.data.reader import read_faces, read_index
from deepfake_core.data.records import verify_records, write_records
from deepfake_core.data.split import split_videos
from deepfake_core.report import StageReport
from deepfake_core.specs import SamplingSpec

pytestmark = pytest.mark.real_data

FRAMES = 4


@pytest.fixture
def extracted(real_data, workspace):
    """Return a workspace with a few faces of each original and each Deepfake at c23, ready for records."""
    weights = real_data / "models" / "face_detection_yunet_2023mar.onnx"
    download = DownloadConfig(
        path=real_data / "data" / "ffpp", datasets=("original", "Deepfakes"), compressions=("c23",)
    )
    download_videos(workspace, config=download)
    split_videos(workspace, config=SplitConfig(mode="ratio", counts=(6, 2, 2), seed=1))
    extract = ExtractConfig(
        detector=DetectorConfig(name="yunet", weights=weights),
        sampling=SamplingSpec(step=30, max_frames=FRAMES),
        workers=1,
    )
    extract_faces(workspace, config=extract)
    with receipts.open_stage(workspace, "validate", config=ValidateConfig()) as work:
        work.finish(StageReport(stage="validate"), outputs=[workspace.faces_index])
    return workspace


def test_real_faces_are_written_once_and_read_bit_for_bit(extracted, real_data):
    report = write_records(extracted, config=RecordsConfig(shards=(3, 1, 1), seed=42))

    faces = {}
    for path in extracted.faces.rglob("*.parquet"):
        for row in tables.read(path, schema=tables.FACES).to_pylist():
            if row["status"] == "ok":
                faces[row["video_id"].encode(), row["frame"]] = row["jpeg"]
    groups = defaultdict(set)
    read = 0
    for split in ("train", "val", "test"):
        for image, label, ids in read_faces(extracted, split, shuffle_seed=1, with_ids=True).as_numpy_iterator():
            jpeg = faces.pop((ids["video_id"], int(ids["frame"])))
            bgr = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
            np.testing.assert_array_equal(image, cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
            assert label == int(ids["method"] != b"original")
            groups[ids["group"]].add(split)
            read += 1
    assert faces == {}
    assert read == report.counts["faces"] > 15 * FRAMES
    assert all(len(splits) == 1 for splits in groups.values())
    assert verify_records(extracted).counts["faces"] == read


def test_the_index_remembers_the_detector_that_was_really_used(extracted, real_data):
    write_records(extracted, config=RecordsConfig(shards=(3, 1, 1), seed=42))

    spec = read_index(extracted).spec
    weights = real_data / "models" / "face_detection_yunet_2023mar.onnx"
    assert spec.detector.weights_sha256 == files.sha256_of_file(weights)
    assert (spec.detector.name, spec.face.size, spec.sampling.max_frames) == ("yunet", 299, FRAMES)
