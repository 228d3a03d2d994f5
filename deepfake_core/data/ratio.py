"""Share whole groups out at random so that the counts come out exactly, where that is possible.

Which totals of two parts are still within reach is a subset-sum over two sums at once. It is solved backwards over the
shuffled groups, a bit for each pair of sums; then every group is drawn forwards, at random among the parts that keep
the wanted totals within reach.
"""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from math import floor

from deepfake_core.config import SplitConfig
from deepfake_core.data.groups import Groups
from deepfake_core.errors import SplitError
from deepfake_core.workspace import SPLITS


def split_by_ratio(groups: Groups, *, originals: set[str], config: SplitConfig) -> tuple[dict[str, str], list[str]]:
    """Return group → split at random, and remarks on counts that could not be had.

    Args:
        groups: of the people in this workspace.
        originals: people whose original is here; they are what is counted.
        config: the counts and the seed.

    Raises:
        SplitError: there are fewer groups than splits.
    """
    wanted, notes = wanted_originals(config.counts, available=len(originals))
    weights = {group: sum(name in originals for name in people) for group, people in groups.people.items()}
    with_originals = sum(weight > 0 for weight in weights.values())
    if with_originals < len(SPLITS):
        message = (
            f"{len(originals)} originals form {with_originals} groups of people; train, validation and test need one "
            "group each. Download more identities."
        )
        raise SplitError(message)
    by_group = share_out(weights, counts=wanted, seed=config.seed or 0)
    totals = Counter[str]()
    for group, split in by_group.items():
        totals[split] += weights[group]
    found = tuple(totals[split] for split in SPLITS)
    if found != wanted:
        notes.append(f"whole groups allow no exact {_slashed(wanted)} originals: it is {_slashed(found)}")
    return by_group, notes


def wanted_originals(counts: Sequence[float], *, available: int) -> tuple[tuple[int, int, int], list[str]]:
    """Turn ``split.counts`` into whole numbers of originals, at least one a split, and remarks.

    Fractions are rounded by largest remainders. Whole numbers that sum to more than there are count as proportions.
    """
    if abs(sum(counts) - 1.0) > 1e-6 and sum(counts) <= available:
        train, val, test = (int(count) for count in counts)
        return (train, val, test), []
    shares = [count / sum(counts) * available for count in counts]
    whole = [floor(share) for share in shares]
    by_remainder = sorted(range(len(SPLITS)), key=lambda index: (whole[index] - shares[index], index))
    for index in by_remainder[: available - sum(whole)]:
        whole[index] += 1
    train, val, test = (max(count, 1) for count in whole)
    if sum(counts) <= 1.0 + 1e-6:
        return (train, val, test), []
    note = (
        f"split.counts asks for {_slashed([int(count) for count in counts])} originals and {available} are here: "
        f"taken as proportions, {_slashed((train, val, test))}"
    )
    return (train, val, test), [note]


def share_out(weights: Mapping[str, int], *, counts: Sequence[int], seed: int) -> dict[str, str]:
    """Give whole groups to train, validation and test.

    Args:
        weights: group → its number of originals. Groups of weight zero follow at the end, to train.
        counts: originals wanted in train, validation and test. Where they sum to less than there are, the groups
            that remain are given to nobody.
        seed: decides which of the solutions it is.

    Returns:
        Group → part. The totals equal ``counts`` when whole groups allow it, and are as near as they come otherwise.
    """
    order = sorted(group for group, weight in weights.items() if weight > 0)
    random.Random(seed).shuffle(order)  # noqa: S311 - a seeded draw, not a secret
    train, val, test = counts
    small = _draw(order, weights, wanted=(val, test), others=train, seed=seed)
    rest = [group for group in order if group not in small]
    if sum(counts) >= sum(weights.values()):
        large = dict.fromkeys(rest, "train")
    else:
        large = dict.fromkeys(_draw(rest, weights, wanted=(train, 0), others=0, seed=seed), "train")
    weightless = [group for group, weight in weights.items() if weight == 0]
    return {**small, **large, **dict.fromkeys(weightless, "train")}


def _draw(
    order: Sequence[str], weights: Mapping[str, int], *, wanted: tuple[int, int], others: int, seed: int
) -> dict[str, str]:
    """Draw "val" and "test" of the wanted totals, or the nearest ones; the groups of neither are not in the answer.

    ``others`` is how much the groups of neither should weigh: more than zero, and some will be left.
    """
    heaviest = max((weights[group] for group in order), default=0)
    grid = _Grid(wanted[0] + heaviest, wanted[1] + (heaviest if wanted[1] else 0))
    reach = [1]  # a bit a pair of sums that the groups from here on can make; the empty rest makes (0, 0)
    for group in reversed(order):
        weight = weights[group]
        reach.append(reach[-1] | grid.add_first(reach[-1], weight) | grid.add_second(reach[-1], weight))
    reach.reverse()
    total = sum(weights[group] for group in order)
    first, second = grid.nearest(reach[0], wanted, total=total, others=others)
    draw = random.Random(seed + 1)  # noqa: S311
    parts: dict[str, str] = {}
    for group, possible in zip(order, reach[1:], strict=True):
        weight = weights[group]
        chances = [
            ("val", first, grid.holds(possible, first - weight, second)),
            ("test", second, grid.holds(possible, first, second - weight)),
            ("", total - first - second, grid.holds(possible, first, second)),
        ]
        open_to = [(name, max(need, 1e-9)) for name, need, ok in chances if ok]
        (name,) = draw.choices([name for name, _ in open_to], [need for _, need in open_to])
        total -= weight
        if name:
            parts[group] = name
            first, second = (first - weight, second) if name == "val" else (first, second - weight)
    return parts


class _Grid:
    """Sets of pairs of sums as one integer: bit ``first × stride + second``."""

    def __init__(self, first: int, second: int) -> None:
        self._rows = first + 1
        self._stride = second + 1
        self._all = (1 << self._rows * self._stride) - 1

    def add_first(self, pairs: int, weight: int) -> int:
        return (pairs << weight * self._stride) & self._all

    def add_second(self, pairs: int, weight: int) -> int:
        return (pairs & self._below(weight)) << weight

    def holds(self, pairs: int, first: int, second: int) -> bool:
        inside = 0 <= first < self._rows and 0 <= second < self._stride
        return inside and bool(pairs >> (first * self._stride + second) & 1)

    def nearest(self, pairs: int, wanted: tuple[int, int], *, total: int, others: int) -> tuple[int, int]:
        """Return the pair of sums in the set that differs least from the wanted one.

        Neither a wanted part nor, where ``others`` are wanted, the rest of ``total`` stays empty if that can be helped.
        """
        candidates = [
            (first, second)
            for first in range(self._rows)
            for second in range(self._stride)
            if self.holds(pairs, first, second)
        ]
        return min(
            candidates, key=lambda pair: (_emptied(pair, wanted, total - sum(pair), others), _distance(pair, wanted))
        )

    @cache  # noqa: B019 - a grid lives as long as one draw
    def _below(self, weight: int) -> int:
        """All pairs whose second sum stays inside when ``weight`` is added."""
        row = (1 << max(self._stride - weight, 0)) - 1
        pattern, height = row, 1
        while height < self._rows:
            pattern |= pattern << height * self._stride
            height *= 2
        return pattern & self._all


def _emptied(pair: tuple[int, int], wanted: tuple[int, int], left: int, others: int) -> int:
    return sum(found == 0 < want for found, want in zip((*pair, left), (*wanted, others), strict=True))


def _distance(pair: tuple[int, int], wanted: tuple[int, int]) -> tuple[int, int, tuple[int, int]]:
    off = [abs(found - want) for found, want in zip(pair, wanted, strict=True)]
    return sum(off), max(off), pair


def _slashed(counts: Sequence[int]) -> str:
    return "/".join(str(count) for count in counts)
