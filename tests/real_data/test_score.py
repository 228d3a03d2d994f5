"""Scoring on real FaceForensics++ videos: all of them scored, and of two bad files exactly two rows with a reason."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from deepfake_core.config import ScoreConfig
from deepfake_core.faces.weights import YUNET_SHA256
from deepfake_core.serving.score import score_videos
from deepfake_core.specs import DetectorSpec

YUNET = "face_detection_yunet_2023mar.onnx"


@pytest.mark.real_data
def test_real_videos_are_scored_and_two_bad_ones_have_their_reasons(real_data, tmp_path, write_tiny_model, write_video):
    videos = tmp_path / "videos"
    videos.mkdir()
    real = sorted((real_data / "data" / "ffpp").glob("*_sequences/*/c40/videos/*.mp4"))[::6]
    for path in real:
        method = path.parents[2].name
        (videos / f"{method}_{path.name}").symlink_to(path)
    (videos / "corrupt.mp4").write_bytes(real[0].read_bytes()[1000:20_000])
    write_video(videos / "faceless.mp4", [np.full((288, 512, 3), (40, 90, 160), np.uint8)] * 25)
    model = write_tiny_model(
        tmp_path / "tiny.onnx",
        frame_step=16,
        detector=DetectorSpec(name="yunet", weights_sha256=YUNET_SHA256, input_side=320),
    )

    report = score_videos(
        [videos],
        model=model,
        output=tmp_path / "scores.parquet",
        config=ScoreConfig(weights=real_data / "models" / YUNET),
        folder=tmp_path / "scores",
    )

    rows = {row["video"].rsplit("/", 1)[-1]: row for row in pq.read_table(report.outputs["scores"]).to_pylist()}
    assert len(rows) == len(real) + 2
    assert rows["corrupt.mp4"]["status"] == "unreadable"
    assert rows["faceless.mp4"]["status"] == "no_face"
    assert report.failed == 2
    for bad in ("corrupt.mp4", "faceless.mp4"):
        row = rows.pop(bad)
        assert row["reason"]
        assert (row["score"], row["verdict"]) == (None, "undecidable")
    for row in rows.values():
        assert row["status"] == "scored"
        assert row["verdict"] in ("original", "manipulated")
        assert 0 <= row["score"] <= 1
        assert row["frames_scored"] == row["frames_sampled"] > 0
