"""Names of FaceForensics++ and what they say."""

from pathlib import Path

import pytest

from deepfake_core.data.layout import VIDEO_SETS, identify, list_videos, printable


def seen_in(name, set_name):
    video = identify(Path(f"{name}.mp4"), VIDEO_SETS[set_name], "c23")
    return video.video_id, video.target, video.source, bool(video.problem)


def test_a_fake_shows_the_head_of_its_target_and_the_face_of_its_source():
    assert seen_in("183", "original") == ("ffpp/original/c23/183", "183", None, False)
    assert seen_in("183_253", "Deepfakes") == ("ffpp/Deepfakes/c23/183_253", "183", "253", False)
    assert seen_in("01__kitchen_pan", "DeepFakeDetection_original")[1:] == ("01", None, False)
    assert (
        seen_in("01_02__kitchen_pan__AB", "DeepFakeDetection")[0] == "dfd/DeepFakeDetection/c23/01_02__kitchen_pan__AB"
    )
    assert seen_in("01_02__kitchen_pan__AB", "DeepFakeDetection")[1:] == ("01", "02", False)


@pytest.mark.parametrize(
    ("name", "set_name"),
    [
        ("183", "Deepfakes"),  # whose face?
        ("183_253_469", "FaceSwap"),
        ("_253", "FaceSwap"),
        ("183_copy", "original"),  # a second cut of 183 under another name would leak
        ("01_02__pan", "DeepFakeDetection_original"),
        ("01_02", "DeepFakeDetection"),
        ("1" * 201, "original"),
        ("18\n3", "original"),
        (b"18\xff3".decode("utf-8", "surrogateescape"), "original"),
    ],
)
def test_a_name_that_does_not_say_whom_it_shows_is_a_problem_in_words(name, set_name):
    video = identify(Path(f"{name}.mp4"), VIDEO_SETS[set_name], "c23")

    assert video.problem.startswith("its name")
    assert len(video.name.encode("utf-8")) <= 200
    assert video.name.isprintable()


def test_unicode_names_are_names():
    assert seen_in("Zoë_李雷", "FaceSwap")[1:] == ("Zoë", "李雷", False)


def test_a_listing_holds_what_was_asked_for_and_counts_the_rest(face_tree):
    root = face_tree(
        "original_sequences/youtube/c23/videos/253",
        "original_sequences/youtube/c23/videos/183",
        "original_sequences/youtube/raw/videos/183",
        "manipulated_sequences/Deepfakes/c23/videos/183_253",
        "manipulated_sequences/Deepfakes/masks/videos/183_253",
        "manipulated_sequences/Unheard/c23/videos/183_253",
    )
    folder = root / "original_sequences/youtube/c23/videos"
    (folder / "notes.txt").write_text("mine")
    (folder / "469.MP4").write_bytes(b"x")
    (folder / "183.MP4").write_bytes(b"x")  # another spelling of a name that is there
    (folder / ".183.mp4.part").write_bytes(b"x")
    (folder / "481.mp4").mkdir()

    listing = list_videos(root, datasets=("original", "Deepfakes"), compressions=("c23", "c40"))

    assert [video.video_id for video in listing.videos] == [
        "ffpp/Deepfakes/c23/183_253",
        "ffpp/original/c23/183",
        "ffpp/original/c23/253",
        "ffpp/original/c23/469",
    ]
    assert sorted(path.name for path in listing.strays) == ["183.mp4", "481.mp4", "notes.txt"]
    assert listing.left_out == {
        "manipulated_sequences/Unheard/c23/videos": 1,
        "original_sequences/youtube/raw/videos": 1,
    }


def test_num_videos_takes_the_first_names_of_each_set(face_tree):
    root = face_tree(*(f"original_sequences/youtube/c23/videos/{name}" for name in ("003", "001", "002")))

    listing = list_videos(root, datasets=("original",), compressions=("c23",), num_videos=2)

    assert [video.name for video in listing.videos] == ["001", "002"]


def test_what_a_table_cannot_hold_is_written_out():
    assert printable(b"a\xffb".decode("utf-8", "surrogateescape")) == "a\\xffb"
    assert printable("a\nb\u2028") == "a\\nb\\u2028"
    assert printable("Zoë") == "Zoë"
