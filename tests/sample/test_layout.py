import re

import pytest

from deepfake_core.sample import layout


def test_paths_are_those_of_faceforensics():
    assert layout.original_path(7, "c23").as_posix() == "original_sequences/youtube/c23/videos/007.mp4"
    fake = layout.fake_path("Face2Face", 1, 0, "c40").as_posix()
    assert fake == "manipulated_sequences/Face2Face/c40/videos/001_000.mp4"


def test_64_people_are_split_as_21_5_and_6_pairs():
    lists = layout.split_lists(64, seed=1)

    assert {split: len(pairs) for split, pairs in lists.items()} == {"train": 21, "val": 5, "test": 6}


@pytest.mark.parametrize("identities", [6, 8, 12, 20, 64, 100])
def test_everyone_is_in_exactly_one_split_together_with_their_partner(identities):
    lists = layout.split_lists(identities, seed=1)

    named = [name for pairs in lists.values() for pair in pairs for name in pair]
    assert sorted(named) == [layout.name_of(number) for number in range(identities)]
    assert all(lists.values())
    assert all(int(first) ^ 1 == int(second) for pairs in lists.values() for first, second in pairs)


def test_the_seed_decides_the_split():
    assert layout.split_lists(64, seed=1) == layout.split_lists(64, seed=1) != layout.split_lists(64, seed=2)


def test_every_original_was_cut_from_a_video_of_its_own():
    table = layout.conversion_table(64, seed=1)

    assert list(table) == [layout.name_of(number) for number in range(64)]
    assert len(set(table.values())) == 64
    assert all(re.fullmatch(r"[\w-]{11} 0", entry) for entry in table.values())
