"""No person stands on both sides of a split."""

import json
import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pyarrow as pa
import pytest

from deepfake_core import files, receipts, tables
from deepfake_core.config import Config, SplitConfig
from deepfake_core.config_file import load_config
from deepfake_core.data.download import accept_terms
from deepfake_core.data.lists import read_lists
from deepfake_core.data.split import refuse_torn_groups, split_videos
from deepfake_core.errors import (
    ConfigError,
    DownloadError,
    MissingInput,
    SplitError,
    TermsNotAccepted,
    TornGroupError,
)
from deepfake_core.pipeline import run_pipeline

PAIRS = {"train": [["001", "002"]], "val": [["003", "004"]], "test": [["005", "006"]]}
NAMES = ("001", "002", "001_002", "003", "004", "003_004", "004_003", "005", "006", "006_005")


def official(lists, **changes):
    return SplitConfig(mode="official", lists=str(lists), **changes)


def test_a_fake_never_leaves_the_group_of_the_people_in_it(workspace_with, splits_by_name):
    workspace = workspace_with("001", "002", "003", "004", "001_002")

    split_videos(workspace, config=SplitConfig(mode="ratio", counts=(2, 1, 1)))

    split = splits_by_name(workspace)
    assert split["001"] == split["002"] == split["001_002"] != split["003"]
    assert set(split.values()) == {"train", "val", "test"}


def test_people_joined_over_several_fakes_are_one_group(workspace_with):
    workspace = workspace_with("001", "002", "003", "001_002", "003_002", "004", "005", compressions=("c23", "c40"))

    split_videos(workspace, config=SplitConfig(mode="ratio", counts=(3, 1, 1)))

    rows = tables.read(workspace.splits_table, schema=tables.SPLITS).to_pylist()
    groups = {row["video_id"]: row["group"] for row in rows}
    assert {groups[f"ffpp/original/{c}/{name}"] for name in ("001", "002", "003") for c in ("c23", "c40")} == {
        "ffpp/001"
    }
    assert groups["ffpp/Deepfakes/c40/003_002"] == "ffpp/001"


def test_the_official_lists_decide(workspace_with, write_lists, splits_by_name):
    workspace = workspace_with(*NAMES)

    report = split_videos(workspace, config=official(write_lists(**PAIRS)))

    split = splits_by_name(workspace)
    assert {name: split[name] for name in ("001", "001_002", "004_003", "006_005")} == {
        "001": "train",
        "001_002": "train",
        "004_003": "val",
        "006_005": "test",
    }
    assert report.counts == {"groups": 3, "train": 3, "val": 4, "test": 3, "collisions": 0}


def test_the_lists_lie_below_the_videos_where_nobody_says_otherwise(workspace_with, write_lists, splits_by_name):
    workspace = workspace_with(*NAMES)
    write_lists(folder="workspace/videos/splits", **PAIRS)

    split_videos(workspace, config=SplitConfig())

    assert splits_by_name(workspace)["005"] == "test"


class Quiet(SimpleHTTPRequestHandler):
    """A web server's folder."""

    def log_message(self, *args):
        """Say nothing."""


@pytest.fixture
def serve(monkeypatch):
    """Return a function that serves a folder while its context lasts: the URL, which afterwards nobody answers."""
    monkeypatch.setattr("deepfake_core.data.lists.CONNECT_ATTEMPTS", 0)

    @contextmanager
    def serving(folder):
        with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield f"http://127.0.0.1:{server.server_address[1]}/"
            server.shutdown()

    return serving


def test_lists_may_come_from_a_url(workspace_with, write_lists, splits_by_name, serve):
    folder = write_lists(youtube_ids={"001": "abc 0", "005": "abc 1"}, **PAIRS)
    with serve(folder) as url:
        workspace = workspace_with(*NAMES)
        report = split_videos(workspace, config=official(url))
        assert splits_by_name(workspace)["003"] == "val"
        assert report.counts["collisions"] == 1
        (folder / "test.json").unlink()
        with pytest.raises(SplitError, match=r"test\.json"):
            split_videos(workspace, config=official(url))


@pytest.mark.parametrize("youtube_ids", [None, {"001": "abc 0", "005": "abc 1"}])
def test_a_finished_split_stays_finished_when_its_url_is_gone(workspace_with, write_lists, serve, youtube_ids):
    workspace = workspace_with(*NAMES)
    with serve(write_lists(youtube_ids=youtube_ids, **PAIRS)) as url:
        split_videos(workspace, config=official(url))
        assert split_videos(workspace, config=official(url)).notes == ()

    found = split_videos(workspace, config=official(url))
    assert found.outcome == "found"
    assert f"{url}train.json cannot be read" in found.notes[0]
    assert "what an earlier run found there is used" in found.notes[0]

    splits = workspace.splits_table.read_bytes()
    workspace.splits_table.unlink()
    again = split_videos(workspace, config=official(url))
    assert again.outcome == "done"
    assert found.notes[0] in again.notes
    assert workspace.splits_table.read_bytes() == splits


def test_what_another_url_gave_is_not_used(workspace_with, write_lists, serve):
    workspace = workspace_with(*NAMES)
    with serve(write_lists(**PAIRS)) as url:
        split_videos(workspace, config=official(url))

    with pytest.raises(SplitError, match=r"elsewhere/train\.json cannot be read"):
        split_videos(workspace, config=official(f"{url}elsewhere"))


def test_only_lists_that_are_right_are_kept(workspace_with, write_lists, serve):
    workspace = workspace_with(*NAMES)
    with serve(lists := write_lists(**PAIRS)) as url:
        split_videos(workspace, config=official(url))
        (lists / "val.json").write_text('["003"]')
        with pytest.raises(SplitError, match="list of pairs"):
            split_videos(workspace, config=official(url))

    assert split_videos(workspace, config=official(url)).outcome == "found"


def test_people_of_one_youtube_video_across_official_splits_are_reported_never_refused(workspace_with, write_lists):
    workspace = workspace_with(*NAMES)
    ids = {"001": "abc 0", "005": "abc 1", "003": "xyz 0", "004": "xyz 1", "999": "abc 2"}

    report = split_videos(workspace, config=official(write_lists(youtube_ids=ids, **PAIRS)))

    rows = tables.read(workspace.splits_table, schema=tables.SPLITS).to_pylist()
    collision = {row["video_id"].rpartition("/")[2]: row["collision"] for row in rows}
    assert report.counts["collisions"] == 1
    assert collision["001"] == collision["001_002"] == "ffpp/005"
    assert collision["005"] == collision["006_005"] == "ffpp/001"
    assert [collision[name] for name in ("002", "003", "004", "006")] == [None] * 4


def test_people_of_one_youtube_video_stay_together_at_random(workspace_with, write_lists, splits_by_name):
    names = [f"{number:03d}" for number in range(8)]
    lists = write_lists(youtube_ids={"000": "abc 0", "007": "abc 1"})
    for seed in range(6):
        workspace = workspace_with(*names)
        split_videos(workspace, config=SplitConfig(mode="ratio", counts=(4, 2, 2), lists=str(lists), seed=seed))
        split = splits_by_name(workspace)
        assert split["000"] == split["007"]


def test_actors_are_people_too_and_no_numbers_of_faceforensics(workspace_with, splits_by_name):
    workspace = workspace_with(
        "01__pan", "01__kitchen", "02__pan", "01_02__pan__ABC", "03__pan", "04__pan", "04_03__pan__DEF", "05__pan", "01"
    )

    split_videos(workspace, config=SplitConfig(mode="ratio", counts=(4, 1, 1)))

    split = splits_by_name(workspace)
    groups = tables.read(workspace.splits_table, schema=tables.SPLITS)["group"].to_pylist()
    assert split["01__pan"] == split["01__kitchen"] == split["02__pan"] == split["01_02__pan__ABC"]
    assert split["03__pan"] == split["04_03__pan__DEF"]
    assert set(groups) == {"dfd/01", "dfd/03", "dfd/05", "ffpp/01"}


def test_lists_that_leave_a_split_empty_are_refused_before_any_work(workspace_with, write_lists):
    workspace = workspace_with("001", "002", "001_002", "003", "004", "003_004")

    with pytest.raises(SplitError) as error:
        split_videos(workspace, config=official(write_lists(**PAIRS)))

    assert error.value.exit_code == 2
    assert "put no video of this workspace into 'test' (found 4 originals: 001, 002, 003, 004)" in str(error.value)
    assert "Use mode 'ratio', or download an identity of test.json." in str(error.value)
    assert not workspace.splits_table.exists()


def test_lists_that_tear_a_group_are_refused(workspace_with, write_lists):
    workspace = workspace_with(*NAMES, "001_003")

    with pytest.raises(SplitError, match=r"tear a group apart.*ffpp/001 in train.*ffpp/003 in val"):
        split_videos(workspace, config=official(write_lists(**PAIRS)))


def test_people_whom_the_lists_do_not_name_stand_in_no_split_and_are_counted(
    workspace_with, write_lists, splits_by_name
):
    actors = ("01__pan", "02__pan", "01_02__pan__ABC")
    workspace = workspace_with(*NAMES, "777", *actors)

    report = split_videos(workspace, config=official(write_lists(**PAIRS)))

    assert set(splits_by_name(workspace)) == set(NAMES)
    assert "videos of people whom the official lists do not name, in no split: 4" in report.notes
    leaks = files.read_json(workspace.leak_report.with_name("leaks.json"))
    assert {group["group"]: group["split"] for group in leaks["groups"] if not group["split"]} == {
        "dfd/01": None,
        "ffpp/777": None,
    }
    assert "no split" in workspace.leak_report.read_text()


def test_a_youtube_video_shared_with_somebody_in_no_split_is_no_collision(workspace_with, write_lists):
    ids = {"001": "abc 0", "777": "abc 1"}

    workspace = workspace_with(*NAMES, "777")
    report = split_videos(workspace, config=official(write_lists(youtube_ids=ids, **PAIRS)))

    assert report.counts["collisions"] == 0
    assert set(tables.read(workspace.splits_table, schema=tables.SPLITS)["collision"].to_pylist()) == {None}


def test_an_actor_is_not_taken_for_the_person_of_the_same_number(workspace_with, write_lists, splits_by_name):
    workspace = workspace_with(*NAMES, "01__pan")

    split_videos(workspace, config=official(write_lists(**{**PAIRS, "train": [["001", "002"], ["01", "09"]]})))

    assert "01__pan" not in splits_by_name(workspace)


def test_lists_that_name_only_one_person_of_a_fake_are_refused(workspace_with, write_lists):
    workspace = workspace_with(*NAMES, "777", "001_777")

    with pytest.raises(SplitError, match=r"ffpp/001 in train.*ffpp/777 in no list"):
        split_videos(workspace, config=official(write_lists(**PAIRS)))


def test_a_person_in_two_lists_is_refused(workspace_with, write_lists):
    lists = write_lists(**{**PAIRS, "test": [["005", "006"], ["001", "007"]]})

    with pytest.raises(SplitError, match=r"name 001 in train\.json and in test\.json"):
        split_videos(workspace_with(*NAMES), config=official(lists))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "no val.json in"),
        ("[[", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ('{"003": "004"}', "list of pairs"),
        ("[[3, 4]]", "list of pairs"),
        ('["003"]', "list of pairs"),
    ],
)
def test_lists_that_are_missing_or_no_lists_are_named(workspace_with, write_lists, text, words):
    lists = write_lists(**PAIRS)
    (lists / "val.json").unlink()
    if text is not None:
        (lists / "val.json").write_text(text)

    with pytest.raises(SplitError, match=words) as error:
        split_videos(workspace_with(*NAMES), config=official(lists))
    assert "val.json" in str(error.value)


@pytest.mark.parametrize("place", ["http://127.0.0.1:9 9/", "https:///lists", "http:/host/lists", "ftp://host/lists"])
@pytest.mark.parametrize("key", ["lists", "youtube_ids"])
def test_a_url_that_nobody_could_ask_is_refused_with_the_configuration(place, key):
    with pytest.raises(ConfigError, match=rf"split\.{key}.*https://host/folder.*Received: '{place}'"):
        load_config(None, [f"split.{key}={json.dumps(place)}"])


def test_a_url_that_was_never_validated_is_an_error_of_the_lists(tmp_path):
    config = SplitConfig().model_copy(update={"lists": "http://127.0.0.1:9 9/"})

    with pytest.raises(SplitError, match=r"train\.json cannot be read: Invalid port"):
        read_lists(config, default=tmp_path)


def test_a_table_of_youtube_ids_that_was_asked_for_and_is_not_there_is_an_error(workspace_with, tmp_path):
    config = SplitConfig(mode="ratio", counts=(2, 2, 2), youtube_ids=tmp_path / "nowhere.json")

    with pytest.raises(SplitError, match=r"nowhere\.json") as error:
        split_videos(workspace_with(*NAMES), config=config)
    assert "Set split.youtube_ids" in str(error.value)
    assert "split.lists" not in str(error.value)


def test_a_table_of_youtube_ids_may_come_from_a_url_and_a_missing_one_is_named_in_full(
    workspace_with, write_lists, serve
):
    folder = write_lists(youtube_ids={"001": "abc 0", "005": "abc 1"}, **PAIRS)
    workspace = workspace_with(*NAMES)
    with serve(folder) as url:
        config = official(folder, youtube_ids=f"{url}conversion_dict.json")
        assert split_videos(workspace, config=config).counts["collisions"] == 1

        with pytest.raises(SplitError, match=rf"no table of YouTube ids at {url}my_ids\.json"):
            split_videos(workspace, config=official(folder, youtube_ids=f"{url}my_ids.json"))
    assert split_videos(workspace, config=config).outcome == "found"


@pytest.mark.parametrize("text", ['["605"]', '{"605": 7}', '{"605": " "}'])
def test_a_table_of_youtube_ids_that_is_none_is_named(workspace_with, write_lists, text):
    lists = write_lists(**PAIRS)
    (lists / "my_ids.json").write_text(text)

    with pytest.raises(SplitError, match=r"my_ids\.json must map people to YouTube ids.*Received: .*605") as error:
        split_videos(workspace_with(*NAMES), config=official(lists, youtube_ids=lists / "my_ids.json"))
    assert "conversion_dict" not in str(error.value)


def test_unreadable_videos_are_in_no_split_and_join_nobody(workspace_with, splits_by_name):
    workspace = workspace_with("001", "002", "003", "001_002", unreadable=("001_002",))

    report = split_videos(workspace, config=SplitConfig(mode="ratio", counts=(1, 1, 1)))

    assert set(splits_by_name(workspace)) == {"001", "002", "003"}
    assert "unreadable or missing videos, in no split: 1" in report.notes


def test_nothing_readable_is_nothing_to_split(workspace_with):
    workspace = workspace_with("001", "002", unreadable=("001", "002"))

    with pytest.raises(SplitError, match="none of the 2 videos can be read"):
        split_videos(workspace, config=SplitConfig(mode="ratio"))


def test_fewer_groups_than_splits_is_an_error(workspace_with):
    with pytest.raises(SplitError, match="form 2 groups of people"):
        split_videos(workspace_with("001", "002", "003", "001_002"), config=SplitConfig(mode="ratio"))


def test_the_same_lists_elsewhere_are_the_same_split_and_changed_lists_are_another(workspace_with, write_lists):
    workspace = workspace_with(*NAMES)
    split_videos(workspace, config=official(write_lists(**PAIRS)))

    assert split_videos(workspace, config=official(write_lists(folder="copy", **PAIRS))).outcome == "found"
    swapped = {**PAIRS, "val": PAIRS["test"], "test": PAIRS["val"]}
    report = split_videos(workspace, config=official(write_lists(**swapped)))
    assert report.outcome == "done"
    assert "made again: its input changed: lists" in report.notes


@pytest.mark.parametrize("name", ["index.html", "leaks.json"])
def test_a_lost_leak_report_is_made_again_and_nothing_that_read_the_split_is_stale(workspace_with, write_lists, name):
    workspace = workspace_with(*NAMES)
    config = official(write_lists(**PAIRS))
    split_videos(workspace, config=config)
    before = receipts.require_done(workspace, "split").outputs_digest
    workspace.leak_report.with_name(name).unlink()

    assert split_videos(workspace, config=config).outcome == "done"

    assert workspace.leak_report.with_name(name).is_file()
    assert receipts.require_done(workspace, "split").outputs_digest == before
    assert split_videos(workspace, config=config).outcome == "found"


def test_the_seed_decides_and_nothing_else(workspace_with, splits_by_name):
    names = [f"{number:03d}" for number in range(20)]
    config = SplitConfig(mode="ratio", counts=(0.6, 0.2, 0.2), seed=1)
    workspace = workspace_with(*names)
    split_videos(workspace, config=config)
    first = workspace.splits_table.read_bytes()
    workspace.splits_table.unlink()
    split_videos(workspace, config=config)
    assert workspace.splits_table.read_bytes() == first

    split_videos(workspace, config=config.model_copy(update={"seed": 2}))
    assert workspace.splits_table.read_bytes() != first


def from_servers(**split):
    """Return a configuration whose only server refuses every connection."""
    values = {"source": "faceforensics", "server_url": "http://127.0.0.1:9/", "attempts": 1}
    return Config.model_validate({"download": values, "split": split})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"val": "[["}, r"val\.json cannot be read"),
        ({"val": "[[3]]"}, r"val\.json must be a list of pairs"),
        ({"val": '[["001", "003"]]'}, r"name 001 in train\.json and in val\.json"),
        ({}, r"no train\.json in .*nowhere"),
    ],
)
def test_wrong_lists_are_refused_before_days_of_download(workspace, write_lists, changes, words):
    lists = write_lists(**PAIRS)
    for split, text in changes.items():
        (lists / f"{split}.json").write_text(text)
    accept_terms(workspace)

    with pytest.raises(SplitError, match=words):
        next(run_pipeline(workspace, from_servers(lists=str(lists if changes else lists / "nowhere"))))


def test_right_lists_let_the_download_begin_and_its_terms_come_first(workspace, write_lists):
    right, wrong = from_servers(lists=str(write_lists(**PAIRS))), from_servers(lists="nowhere")
    for config in (right, wrong):
        with pytest.raises(TermsNotAccepted) as error:
            next(run_pipeline(workspace, config))
        assert error.value.exit_code == 2

    accept_terms(workspace)
    with pytest.raises(DownloadError, match="no server gives"):
        next(run_pipeline(workspace, right))


def test_without_videos_the_download_is_asked_for(workspace):
    with pytest.raises(MissingInput, match="deepfake download"):
        split_videos(workspace, config=SplitConfig())


def table_of(*rows):
    return tables.from_rows(
        [dict(zip(("video_id", "group", "split"), row, strict=True)) for row in rows], tables.SPLITS
    )


def test_the_guard_lets_whole_groups_through_and_refuses_torn_ones():
    whole = table_of(
        ("ffpp/original/c23/001", "ffpp/001", "train"), ("ffpp/Deepfakes/c23/001_002", "ffpp/001", "train")
    )
    refuse_torn_groups(whole)

    torn = table_of(("ffpp/original/c23/001", "ffpp/001", "train"), ("ffpp/original/c23/002", "ffpp/001", "test"))
    with pytest.raises(TornGroupError, match="ffpp/001 in train and test") as error:
        refuse_torn_groups(torn)
    assert error.value.exit_code == 3


def test_the_guard_reads_the_people_again_and_does_not_believe_group_names():
    edited = table_of(
        ("ffpp/original/c23/001", "ffpp/001", "train"),
        ("ffpp/original/c23/002", "ffpp/002", "test"),
        ("ffpp/Deepfakes/c23/001_002", "ffpp/002", "test"),
    )

    with pytest.raises(TornGroupError, match="ffpp/001 in train and test"):
        refuse_torn_groups(edited)


def test_the_guard_takes_any_table_with_its_columns():
    refuse_torn_groups(pa.table({"video_id": ["x/y/z/w"], "group": ["g"], "split": ["val"], "more": [1]}))


def test_the_leak_report_is_one_page_that_asks_nobody_for_anything(workspace_with, write_lists):
    workspace = workspace_with(*NAMES, "<b>", unreadable=("003",))
    ids = {"001": "abc 0", "005": "abc 1"}
    lists = write_lists(youtube_ids=ids, **{**PAIRS, "train": [["001", "002"], ["<b>"]]})

    report = split_videos(workspace, config=official(lists))

    page = workspace.leak_report.read_text()
    assert report.outputs["leak report"] == str(workspace.leak_report)
    assert "http" not in page.replace("http-equiv", "")
    assert "<script" not in page
    assert "<b><b></b>" not in page
    assert "&lt;b&gt;" in page
    for word in ("collision", "abc", "Deepfakes", "c23", "001", "006"):
        assert word in page
    values = files.read_json(workspace.leak_report.with_name("leaks.json"))
    assert values["shared"] == [
        {"youtube_id": "abc", "people": {"ffpp/001": "train", "ffpp/005": "test"}, "collision": True}
    ]
    assert values["without_original"] == ["ffpp/003"]
    assert values["unreadable"] == 1
    assert {row["method"]: row["val"] for row in values["balance"]} == {"original": 1, "Deepfakes": 2}


def test_the_page_says_what_is_left_over_and_counts_as_people_do(workspace_with):
    workspace = workspace_with("001", "002", "001_002", "003", "004", "005", "006")

    split_videos(workspace, config=SplitConfig(mode="ratio", counts=(2, 1, 1), seed=1))

    page = workspace.leak_report.read_text()
    assert "4 groups of 1 person, 1 of 2 people." in page
    assert '<b>003</b> <span class="soft">1 video</span>' in page
    assert "<li>videos of people beyond split.counts, in no split: 2</li>" in page
    assert page.count('background:var(--line)"></i>') == 1  # originals alone are left over
