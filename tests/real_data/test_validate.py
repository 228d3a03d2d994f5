"""The gate over real FaceForensics++ videos: they pass, and without an original they do not."""

import pytest

from deepfake_core import tables
from deepfake_core.config import DetectorConfig, DownloadConfig, ExtractConfig, SplitConfig, ValidateConfig
from deepfake_core.data.download import download_videos
from deepfake_core.data.extract import extract_faces
from deepfake_core.data.split import split_videos
from deepfake_core.data.validate import validate_data
from deepfake_core.errors import DataQualityError
from deepfake_core.specs import SamplingSpec

pytestmark = pytest.mark.real_data


def prepare(workspace, real_data, *, sampling: SamplingSpec, download: DownloadConfig) -> None:
    weights = real_data / "models" / "face_detection_yunet_2023mar.onnx"
    detector = DetectorConfig(name="yunet", weights=weights)
    download_videos(workspace, config=download)
    split_videos(workspace, config=SplitConfig(mode="ratio", counts=(6, 2, 2), seed=42))
    extract_faces(workspace, config=ExtractConfig(detector=detector, sampling=sampling, workers=2))


def test_the_real_videos_pass_with_all_their_gaps(real_data, workspace):
    tree = real_data / "data" / "ffpp"
    prepare(workspace, real_data, sampling=SamplingSpec(max_frames=3), download=DownloadConfig(path=tree))

    report = validate_data(workspace, config=ValidateConfig())

    assert report.counts["videos"] == 95
    assert report.counts["passed"] + report.counts["warnings"] == report.counts["checks"]
    assert workspace.quality_report.read_text().count("data:image/jpeg") >= 5 * 8


def test_whole_real_videos_give_as_many_frames_as_they_are_long(real_data, workspace):
    download = DownloadConfig(
        path=real_data / "data" / "ffpp", datasets=("original", "Deepfakes"), compressions=("c40",)
    )
    prepare(workspace, real_data, sampling=SamplingSpec(step=32), download=download)

    validate_data(workspace, config=ValidateConfig())

    results = tables.read(workspace.quality_results, schema=tables.QUALITY).to_pylist()
    frames = next(row for row in results if row["column"] == "frame_count_error")
    assert frames["passed"]
    assert frames["rows"] == 20
    assert frames["value"] == 0
    with pytest.raises(DataQualityError, match="Faces are large enough"):
        validate_data(workspace, config=ValidateConfig(min_face_pixels=250))
