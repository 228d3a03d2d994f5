import numpy as np

from deepfake_core.sample.people import person


def test_a_person_is_the_same_whenever_they_are_asked_for():
    assert person(7, seed=1) == person(7, seed=1)


def test_another_seed_is_another_person():
    assert person(7, seed=1).shape != person(7, seed=2).shape


def test_no_two_people_look_alike():
    people = [person(number, seed=1) for number in range(64)]

    for part in ("shape", "eyes", "nose", "mouth", "skin", "light", "room", "camera"):
        assert len({getattr(one, part) for one in people}) == 64, part


def test_people_who_are_swapped_share_what_a_swap_must_not_betray():
    for first in range(0, 64, 2):
        one, other = person(first, seed=1), person(first + 1, seed=1)

        brightness = np.mean(one.skin.tone) / np.mean(other.skin.tone)
        assert 0.75 < brightness < 1.33
        assert (one.skin.beard > 0) == (other.skin.beard > 0)
        assert {one.hair.style, other.hair.style} <= {"long", "bob", "updo"} or not (
            {one.hair.style, other.hair.style} & {"long", "bob", "updo"}
        )


def test_the_people_have_all_skin_tones_and_all_backdrops():
    people = [person(number, seed=1) for number in range(64)]

    brightness = sorted(float(np.mean(one.skin.tone)) for one in people)
    assert brightness[0] < 0.2
    assert brightness[-1] > 0.5
    assert {one.room.backdrop for one in people} == {"studio", "office", "wall", "outdoors"}
