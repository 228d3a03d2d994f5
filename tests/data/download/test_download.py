"""Reading a tree of videos in place."""

import shutil
from pathlib import Path

import pytest

from deepfake_core import tables
from deepfake_core.config import DownloadConfig
from deepfake_core.data import verify
from deepfake_core.data.download import download_videos
from deepfake_core.errors import DownloadError

TREE = (
    "original_sequences/youtube/c40/videos/183",
    "original_sequences/youtube/c40/videos/253",
    "manipulated_sequences/Deepfakes/c40/videos/183_253",
    "manipulated_sequences/Deepfakes/c40/videos/253_183",
)


@pytest.fixture
def tree(face_tree):
    return face_tree(*TREE)


def config_of(path, **changes):
    return DownloadConfig(path=path, workers=1, **changes)


def rows_by_name(workspace):
    rows = tables.read(workspace.videos_table, schema=tables.VIDEOS).to_pylist()
    return {row["name"]: row for row in rows}


def test_every_video_of_a_tree_is_a_row(workspace, tree):
    report = download_videos(workspace, config=config_of(tree))

    rows = rows_by_name(workspace)
    assert report.counts == {"videos": 4, "originals": 2, "manipulated": 2, "ok": 4}
    assert report.failed == 0
    fake = rows["183_253"]
    path = tree / f"{TREE[2]}.mp4"
    assert (fake["path"], fake["bytes"], fake["label"]) == (str(path), path.stat().st_size, 1)
    assert (fake["codec"], fake["width"], fake["height"], fake["fps"], fake["frames"]) == ("h264", 96, 64, 25.0, 5)
    assert len(fake["sha256"]) == 64
    assert (rows["183"]["method"], rows["183"]["source"], rows["183"]["label"]) == ("original", None, 0)
    assert report.outputs["source"] == str(tree)


def test_videos_inside_the_workspace_need_no_path_and_may_move_with_it(workspace, tree, verified):
    shutil.copytree(tree, workspace.videos)

    download_videos(workspace, config=config_of(None))

    assert rows_by_name(workspace)["183"]["path"] == "videos/original_sequences/youtube/c40/videos/183.mp4"


def test_files_that_are_no_whole_videos_are_rows_with_a_reason(workspace, tree, video_bytes, write_video):
    originals = tree / "original_sequences/youtube/c40/videos"
    whole = video_bytes("469")
    (originals / "001.mp4").write_bytes(b"")
    (originals / "002.mp4").write_bytes(b"this is no video" * 100)
    (originals / "003.mp4").write_bytes(whole[:-200])
    (originals / "004.mp4").symlink_to("nowhere.mp4")
    (originals / "005_copy.mp4").write_bytes(whole)
    (originals / "006.mp4").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))

    report = download_videos(workspace, config=config_of(tree))

    rows = rows_by_name(workspace)
    bad = {name: row["reason"] for name, row in rows.items() if row["status"] != "ok"}
    assert report.failed == len(bad) == 6
    assert {row["status"] for row in rows.values()} == {"ok", "unreadable"}
    assert "is empty" in bad["001"]
    assert "not a video" in bad["002"]
    assert "its tail is missing" in bad["003"]
    assert "cannot be read" in bad["004"]
    assert "does not say whom it shows" in bad["005_copy"]
    assert "006.mp4" in bad["006"]
    assert rows["183"]["status"] == "ok"


def test_an_unchanged_tree_is_found_not_read_again(workspace, tree, verified):
    download_videos(workspace, config=config_of(tree))
    verified.clear()

    assert download_videos(workspace, config=config_of(tree)).outcome == "found"
    assert verified == []


def test_a_changed_tree_is_made_again_but_only_changed_files_are_read(workspace, tree, verified, video_bytes):
    download_videos(workspace, config=config_of(tree))
    before = rows_by_name(workspace)
    verified.clear()
    (tree / f"{TREE[0]}.mp4").write_bytes(video_bytes("other"))
    (tree / f"{TREE[1]}.mp4").unlink()
    new = tree / "original_sequences/youtube/c40/videos/469.mp4"
    new.write_bytes(video_bytes("469"))

    report = download_videos(workspace, config=config_of(tree))

    after = rows_by_name(workspace)
    assert report.outcome == "done"
    assert any("made again" in note for note in report.notes)
    assert sorted(verified) == ["183.mp4", "469.mp4"]
    assert set(after) == {"183", "469", "183_253", "253_183"}
    assert after["183"]["sha256"] != before["183"]["sha256"]
    assert after["183_253"] == before["183_253"]


def test_a_run_killed_while_it_verified_keeps_what_it_knew(workspace, tree, verified, monkeypatch):
    honest = verify.supervise

    def killed_after_two(jobs, **given):
        for count, outcome in enumerate(honest(jobs, **given)):
            if count == 2:
                raise KeyboardInterrupt
            yield outcome

    with monkeypatch.context() as patch:
        patch.setattr(verify, "supervise", killed_after_two)
        with pytest.raises(KeyboardInterrupt):
            download_videos(workspace, config=config_of(tree))
    with workspace.verified_videos.open("a") as stream:
        stream.write('\n{"version": 1, "path": "/half/wri')
    assert not workspace.videos_table.exists()
    verified.clear()

    report = download_videos(workspace, config=config_of(tree))

    assert report.counts["ok"] == 4
    assert len(verified) == 2


def test_a_verifier_that_dies_costs_one_video(workspace, tree, monkeypatch):
    def dying(jobs, **_):
        for key, payload in jobs:
            died = payload.endswith("/183.mp4")
            value = {} if died else verify.verify_file(Path(payload))
            yield verify.Outcome(
                key, "crashed" if died else "ok", value=value, reason="its worker process died (SIGSEGV)"
            )

    monkeypatch.setattr(verify, "supervise", dying)

    report = download_videos(workspace, config=config_of(tree))

    assert report.failed == 1
    assert "SIGSEGV" in rows_by_name(workspace)["183"]["reason"]


def test_only_the_asked_sets_are_taken_and_the_rest_is_named(workspace, tree, verified):
    report = download_videos(workspace, config=config_of(tree, datasets=("original",)))

    assert set(rows_by_name(workspace)) == {"183", "253"}
    assert "left out, not asked for: 2 videos in manipulated_sequences/Deepfakes/c40/videos" in report.notes


@pytest.mark.parametrize(
    ("made", "found"),
    [
        (None, "no such folder"),
        ("", "an empty folder"),
        ("holiday.mp4", "holiday.mp4"),
        ("original_sequences/youtube/raw/videos/183.mp4", "1 in original_sequences/youtube/raw/videos"),
    ],
)
def test_a_folder_without_videos_is_an_error_that_names_the_layout_and_what_is_there(workspace, tmp_path, made, found):
    root = tmp_path / "tree"
    if made is not None:
        root.mkdir()
    if made:
        (root / made).parent.mkdir(parents=True, exist_ok=True)
        (root / made).write_bytes(b"x")

    with pytest.raises(DownloadError) as error:
        download_videos(workspace, config=config_of(root))

    assert "original_sequences/youtube/c23/videos/183.mp4" in str(error.value)
    assert f"Found: {found}" in str(error.value)


def test_two_runs_give_the_same_bytes(tree, tmp_path, verified):
    from deepfake_core.workspace import Workspace

    first, second = Workspace.open(tmp_path / "first"), Workspace.open(tmp_path / "second")
    download_videos(first, config=config_of(tree))
    download_videos(second, config=config_of(tree))

    assert first.videos_table.read_bytes() == second.videos_table.read_bytes()
