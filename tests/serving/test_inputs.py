"""No video that was meant is left out silently, and none is taken twice."""

import os
from pathlib import Path

import pytest

from deepfake_core.errors import ConfigError
from deepfake_core.serving.inputs import digest_videos, find_videos


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("clips/b.mp4", "clips/a.MOV", "clips/deep/c.mkv", "clips/notes.txt", "clips/.hidden/d.mp4"):
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return Path("clips")


def test_a_folder_stands_for_the_videos_at_any_depth_in_order(tree):
    assert [str(path) for path in find_videos([tree])] == ["clips/a.MOV", "clips/b.mp4", "clips/deep/c.mkv"]


def test_a_file_that_is_named_is_taken_whatever_it_is_called(tree):
    named = [tree / "notes.txt", tree / "gone.mp4"]

    assert find_videos(named) == named


def test_a_path_given_twice_is_one_video_but_a_link_is_another_name(tree):
    (tree / "z.mp4").symlink_to("b.mp4")

    found = find_videos([tree / "b.mp4", tree, tree.absolute() / "b.mp4"])

    assert [path.name for path in found] == ["b.mp4", "a.MOV", "c.mkv", "z.mp4"]


def test_a_linked_folder_is_followed_and_a_circle_of_links_ends(tree):
    (tree / "deep" / "up").symlink_to("..", target_is_directory=True)
    other = Path("elsewhere")
    other.mkdir()
    (other / "far.mp4").write_bytes(b"far")
    (tree / "linked").symlink_to(other.absolute(), target_is_directory=True)

    names = sorted(path.name for path in find_videos([tree]))

    assert names == ["a.MOV", "b.mp4", "c.mkv", "far.mp4"]


def test_a_folder_without_videos_is_an_error_that_names_the_suffixes(tree):
    empty = Path("empty")
    empty.mkdir()
    (empty / "readme.txt").write_text("no videos here")

    with pytest.raises(ConfigError, match=r"folder empty holds no videos.*\.mp4"):
        find_videos([tree, empty])


def test_no_paths_at_all_are_an_error():
    with pytest.raises(ConfigError, match="nothing to score"):
        find_videos([])


def test_what_cannot_be_read_gets_a_reason_and_no_digest(tree):
    os.mkfifo(tree / "pipe.mp4")

    videos = digest_videos([tree / "b.mp4", tree / "gone.mp4", tree / "pipe.mp4"])

    assert videos[0].sha256 is not None
    assert [(video.sha256, video.reason) for video in videos[1:]] == [
        (None, "there is no such file."),
        (None, "is not a regular file."),
    ]


def test_a_file_name_that_is_no_text_can_still_stand_in_a_table(tree):
    path = Path(os.fsdecode(b"clips/\xff.mp4"))
    path.write_bytes(b"video")

    assert digest_videos([path])[0].name == "clips/\\xff.mp4"
