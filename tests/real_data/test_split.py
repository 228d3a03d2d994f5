"""The official lists, and the ten real identities."""

import json
from collections import Counter

import pytest

from deepfake_core import tables
from deepfake_core.config import DownloadConfig, SplitConfig
from deepfake_core.data.download import download_videos
from deepfake_core.data.groups import group_people, sharing_youtube_id
from deepfake_core.data.layout import VIDEO_SETS, identify
from deepfake_core.data.lists import read_lists
from deepfake_core.data.split import assign_splits, refuse_torn_groups, split_videos
from deepfake_core.errors import SplitError

pytestmark = pytest.mark.real_data

METHODS = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures")
CROSSING = ("605/606", "639/640", "755/756", "837/838", "875/876", "954/955", "982/983")


@pytest.fixture
def lists(real_data):
    return real_data / "data" / "ffpp" / "splits"


@pytest.fixture
def whole_dataset(lists, tmp_path):
    """Return the videos table of all of FaceForensics++: 1,000 identities, four methods, two compressions."""
    pairs = [pair for split in ("train", "val", "test") for pair in json.loads((lists / f"{split}.json").read_text())]
    names = {"original": [name for pair in pairs for name in pair]}
    names |= {method: ["_".join(people) for pair in pairs for people in (pair, pair[::-1])] for method in METHODS}
    videos = [
        identify(tmp_path / f"{name}.mp4", VIDEO_SETS[method], compression)
        for method, found in names.items()
        for compression in ("c23", "c40")
        for name in found
    ]
    rows = [
        {
            "video_id": video.video_id,
            "path": str(video.path),
            "dataset": "ffpp",
            "method": video.video_set.method,
            "compression": video.compression,
            "name": video.name,
            "target": video.target,
            "source": video.source,
            "label": int(video.source is not None),
            "status": "ok",
        }
        for video in videos
    ]
    return tables.from_rows(rows, tables.VIDEOS)


def test_ten_real_identities_are_five_pairs_and_can_be_cut_six_two_two(real_data, workspace):
    download_videos(workspace, config=DownloadConfig(path=real_data / "data" / "ffpp"))

    report = split_videos(workspace, config=SplitConfig(mode="ratio", counts=(6, 2, 2), seed=42))

    splits = tables.read(workspace.splits_table, schema=tables.SPLITS)
    assert report.counts["groups"] == 5
    assert [row["people"] for row in report.table] == [6, 2, 2]
    assert splits.num_rows == 95
    refuse_torn_groups(splits)

    with pytest.raises(
        SplitError, match=r"no video of this workspace into 'test' \(found 10 originals: 183, 253"
    ) as error:
        split_videos(workspace, config=SplitConfig(mode="official"))
    assert error.value.exit_code == 2


def test_the_official_lists_keep_every_group_whole_but_seven_youtube_videos_cross_them(whole_dataset, lists):
    config = SplitConfig(mode="official")

    splits, leaks = assign_splits(whole_dataset, config=config, lists=read_lists(config, default=lists))

    refuse_torn_groups(splits)
    assert [(size.groups, size.people) for size in leaks.splits] == [(360, 720), (70, 140), (70, 140)]
    crossing = sorted("/".join(name.removeprefix("ffpp/") for name in video.people) for video in leaks.collisions)
    assert tuple(crossing) == CROSSING
    assert len(leaks.shared) == 22


def test_the_whole_data_set_can_be_cut_exactly_with_youtube_ids_joined(whole_dataset, lists):
    config = SplitConfig(mode="ratio", counts=(800, 100, 100), seed=42)

    splits, leaks = assign_splits(whole_dataset, config=config, lists=read_lists(config, default=lists))

    refuse_torn_groups(splits)
    assert Counter(len(group.people) for group in leaks.groups) == {2: 460, 4: 15, 6: 2, 8: 1}
    assert [size.people for size in leaks.splits] == [800, 100, 100]
    assert leaks.collisions == ()
    assert leaks.notes == ()


def test_joining_youtube_ids_is_what_makes_the_groups_of_more_than_two(whole_dataset, lists):
    ids = read_lists(SplitConfig(mode="ratio"), default=lists).youtube_ids
    pairs = zip(whole_dataset["target"].to_pylist(), whole_dataset["source"].to_pylist(), strict=True)
    links = {tuple(f"ffpp/{name}" for name in pair if name) for pair in pairs}
    people = {name for link in links for name in link}

    assert len(group_people(links).people) == 500
    assert len(group_people([*links, *sharing_youtube_id(ids, people).values()]).people) == 478
