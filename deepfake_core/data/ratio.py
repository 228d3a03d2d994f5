"""Share whole groups out at random so that the counts come out exactly, where that is possible.

Which totals of two parts are still within reach is a subset-sum over two sums at once. It is solved backwards over the
shuffled groups, a bit for each pair of sums; then every group is drawn forwards, at random among the parts that keep
the wanted totals within reach.
"""

import random
from collections.abc import Mapping, Sequence
from functools import cache


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
