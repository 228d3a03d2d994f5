"""Who belongs together."""

from deepfake_core.data.groups import group_people, people_of_id, people_of_videos, sharing_youtube_id


def test_groups_are_connected_components_named_after_their_first_person():
    groups = group_people([("b", "a"), ("c", "b"), ("d",), ("f", "e")])

    assert groups.people == {"a": ("a", "b", "c"), "d": ("d",), "e": ("e", "f")}
    assert groups.of["c"] == "a"


def test_a_video_shows_its_target_and_its_source(videos_table):
    table = videos_table(["183", "183_253", "01_02__pan__AB"])

    assert people_of_videos(table) == {
        "ffpp/original/c23/183": ("ffpp/183",),
        "ffpp/Deepfakes/c23/183_253": ("ffpp/183", "ffpp/253"),
        "dfd/DeepFakeDetection/c23/01_02__pan__AB": ("dfd/01", "dfd/02"),
    }


def test_an_id_alone_says_the_same(videos_table):
    table = videos_table(["183", "183_253", "01__pan", "01_02__pan__AB"], compressions=("c23", "c40"))

    assert {video_id: people_of_id(video_id) for video_id in table["video_id"].to_pylist()} == people_of_videos(table)
    assert people_of_id("ffpp/Deepfakes/c23/183") == ()
    assert people_of_id("other/Deepfakes/c23/183_253") == ()


def test_a_youtube_video_is_shared_by_two_or_more_of_those_who_are_here():
    ids = {"605": "n", "606": "n", "685": "r", "686": "r", "687": "r", "700": "x", "701": "x"}
    here = [f"ffpp/{name}" for name in ("605", "606", "685", "687", "700")] + ["dfd/701"]

    assert sharing_youtube_id(ids, here) == {"n": ("ffpp/605", "ffpp/606"), "r": ("ffpp/685", "ffpp/687")}
