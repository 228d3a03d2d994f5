"""Extraction of real videos with PyTorch in the workers: the same bytes, however many of them were left to do."""

import pytest

from deepfake_core import files
from deepfake_core.config import DetectorConfig, DownloadConfig, ExtractConfig
from deepfake_core.data.download import download_videos
from deepfake_core.data.extract import extract_faces
from deepfake_core.specs import SamplingSpec

pytestmark = pytest.mark.real_data

VIDEOS = ("469.mp4", "481.mp4")


def test_one_video_that_is_made_again_alone_has_the_bytes_that_it_had_among_others(real_data, workspace, tmp_path):
    pytest.importorskip("ultralytics", reason="the extra 'yolo' is not installed")
    weights = real_data / "models" / "yolov8n-face.pt"
    source = tmp_path / "tree" / "original_sequences" / "youtube" / "c40" / "videos"
    source.mkdir(parents=True)
    for name in VIDEOS:
        (source / name).symlink_to(real_data / "data/ffpp/original_sequences/youtube/c40/videos" / name)
    download_videos(workspace, config=DownloadConfig(path=tmp_path / "tree"))
    config = ExtractConfig(
        detector=DetectorConfig(
            name="yolo", weights=weights, sha256=files.sha256_of_file(weights), input_side=640, device="cpu"
        ),
        sampling=SamplingSpec(max_frames=6),
        workers=2,
    )
    extract_faces(workspace, config=config)
    whole = {path: files.sha256_of_file(path) for path in workspace.faces.rglob("*.parquet")}
    assert len(whole) == len(VIDEOS)

    lost = max(whole)
    lost.unlink()
    extract_faces(workspace, config=config)

    assert files.sha256_of_file(lost) == whole[lost]
