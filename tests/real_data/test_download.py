"""The real FaceForensics++ videos, read in place."""

import pytest

from deepfake_core import tables
from deepfake_core.config import DownloadConfig
from deepfake_core.data.download import download_videos

pytestmark = pytest.mark.real_data


def test_every_real_video_is_whole_and_has_its_people(real_data, workspace):
    tree = real_data / "data" / "ffpp"

    report = download_videos(workspace, config=DownloadConfig(path=tree))

    rows = tables.read(workspace.videos_table, schema=tables.VIDEOS).to_pylist()
    assert len(rows) == len(list(tree.rglob("*.mp4"))) == report.counts["ok"]
    assert report.failed == 0
    assert {row["method"] for row in rows} == {"original", "Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures"}
    assert {row["target"] for row in rows} == {row["source"] for row in rows if row["source"]}
    assert len({row["target"] for row in rows}) == 10
    for row in rows:
        assert row["codec"] == "h264"
        assert row["frames"] == pytest.approx(row["duration"] * row["fps"], abs=1)
    assert download_videos(workspace, config=DownloadConfig(path=tree)).outcome == "found"
