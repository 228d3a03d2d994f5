"""Whole groups, exact counts where they exist."""

import itertools
import random
import tracemalloc
from collections import Counter

import pytest

from deepfake_core.data.ratio import share_out, wanted_originals


def totals(weights, counts, seed=1):
    parts = share_out(weights, counts=counts, seed=seed)
    found = Counter()
    for group, part in parts.items():
        found[part] += weights[group]
    return tuple(found[part] for part in ("train", "val", "test"))


def distance(found, counts):
    return sum(abs(have - want) for have, want in zip(found, counts, strict=True))


def groups_of(*sizes):
    return {f"g{number}": size for number, size in enumerate(sizes)}


def test_the_groups_of_faceforensics_can_be_cut_exactly():
    weights = groups_of(*[2] * 460, *[4] * 15, 6, 6, 8)

    assert totals(weights, (800, 100, 100)) == (800, 100, 100)
    assert totals(weights, (720, 140, 140), seed=7) == (720, 140, 140)
    assert totals(weights, (700, 100, 100)) == (700, 100, 100)


@pytest.mark.parametrize("seed", range(40))
def test_an_exact_cut_is_found_whenever_there_is_one(seed):
    draw = random.Random(seed)  # noqa: S311
    weights = groups_of(*[draw.randint(1, 5) for _ in range(7)])
    total = sum(weights.values())
    val, test = draw.randint(1, total // 3), draw.randint(1, total // 3)
    cuts = itertools.product(range(3), repeat=len(weights))
    exists = any(
        sum(w for w, part in zip(weights.values(), cut, strict=True) if part == 1) == val
        and sum(w for w, part in zip(weights.values(), cut, strict=True) if part == 2) == test
        for cut in cuts
    )

    found = totals(weights, (total - val - test, val, test), seed)

    assert (found == (total - val - test, val, test)) == exists
    assert sum(found) == total


def test_where_no_exact_cut_exists_it_is_the_nearest_and_no_part_is_empty():
    assert totals(groups_of(2, 2, 2, 2, 2), (8, 1, 1)) == (6, 2, 2)
    assert totals(groups_of(2, 2, 2), (4, 1, 1)) == (2, 2, 2)
    assert totals(groups_of(2, 2, 2), (1, 1, 4)) == (2, 2, 2)
    assert totals(groups_of(*[2] * 10), (13, 4, 3)) == (14, 4, 2)


def test_groups_beyond_the_counts_are_given_to_nobody():
    assert totals(groups_of(*[2] * 10), (6, 2, 2)) == (6, 2, 2)


@pytest.mark.parametrize("seed", range(40))
def test_beyond_the_counts_too_an_exact_cut_is_found_whenever_there_is_one_and_else_the_nearest(seed):
    draw = random.Random(seed)  # noqa: S311
    weights = groups_of(*[draw.choice((1, 2, 2, 3, 5)) for _ in range(6)])
    total = sum(weights.values())
    counts = tuple(draw.randint(1, total // 3 - 1) for _ in range(3))
    cuts = {
        tuple(sum(w for w, part in zip(weights.values(), cut, strict=True) if part == wanted) for wanted in range(3))
        for cut in itertools.product(range(4), repeat=len(weights))
    }

    found = totals(weights, counts, seed)

    assert 0 not in found
    assert distance(found, counts) == min(distance(cut, counts) for cut in cuts if 0 not in cut)


def test_what_val_and_test_take_leaves_train_what_it_needs():
    weights = groups_of(2, 1, 1, 3, 5)

    assert {totals(weights, (1, 2, 3), seed) for seed in range(100)} == {(1, 2, 3)}


def test_three_sums_at_once_of_many_groups_fit_into_little_memory():
    weights = groups_of(*[2] * 98, 1, 1)
    tracemalloc.start()

    found = {totals(weights, (41, 40, 40), seed) for seed in range(4)}

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == {(41, 40, 40)}
    assert peak < 0.7e6  # all sets at once would take 1.1e6


def test_groups_without_an_original_follow_to_train():
    parts = share_out({"a": 2, "b": 2, "c": 2, "d": 0}, counts=(2, 2, 2), seed=3)

    assert parts["d"] == "train"


def test_every_group_has_its_chance_of_the_test_split():
    weights = groups_of(*[2] * 5)

    tested = Counter(
        group
        for seed in range(200)
        for group, part in share_out(weights, counts=(6, 2, 2), seed=seed).items()
        if part == "test"
    )

    assert set(tested) == set(weights)
    assert min(tested.values()) > 15


@pytest.mark.parametrize(
    ("counts", "available", "wanted"),
    [
        ((800, 100, 100), 1000, (800, 100, 100)),
        ((800, 100, 100), 1200, (800, 100, 100)),
        ((0.8, 0.1, 0.1), 1000, (800, 100, 100)),
        ((0.72, 0.14, 0.14), 999, (719, 140, 140)),
        ((0.8, 0.1, 0.1), 4, (3, 1, 1)),
    ],
)
def test_counts_and_fractions_become_originals(counts, available, wanted):
    assert wanted_originals(counts, available=available) == (wanted, [])


def test_more_originals_than_there_are_count_as_proportions_and_it_is_said():
    wanted, notes = wanted_originals((800, 100, 100), available=999)

    assert wanted == (799, 100, 100)
    assert notes == ["split.counts asks for 800/100/100 originals and 999 are here: taken as proportions, 799/100/100"]
