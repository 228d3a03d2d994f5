"""Share whole groups out at random so that the counts come out exactly, where that is possible.

Which totals of some parts are still within reach is a subset-sum over several sums at once. It is solved backwards over
the shuffled groups, a bit for each tuple of sums; then every group is drawn forwards, at random among the parts that
keep the wanted totals within reach.
"""

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, reduce
from itertools import accumulate
from math import floor, isqrt, prod
from operator import mul, or_

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
    if sum(counts) >= sum(weights.values()):
        parts = _share_all(order, weights, counts=counts, seed=seed)
    else:
        parts = _share_some(order, weights, counts=counts, seed=seed)
    weightless = [group for group, weight in weights.items() if weight == 0]
    return {**parts, **dict.fromkeys(weightless, "train")}


def _share_all(order: Sequence[str], weights: Mapping[str, int], *, counts: Sequence[int], seed: int) -> dict[str, str]:
    train, val, test = counts
    parts = _draw(order, weights, wanted={"val": val, "test": test}, others=train, seed=seed)
    return {group: parts.get(group, "train") for group in order}


def _share_some(
    order: Sequence[str], weights: Mapping[str, int], *, counts: Sequence[int], seed: int
) -> dict[str, str]:
    """Leave some groups to nobody: val and test first, then train out of the rest, which is quick and mostly right.

    Where the rest gives no train as near as all groups would, three sums are looked at together: exact, and dearer.
    """
    train, val, test = counts
    small = _draw(order, weights, wanted={"val": val, "test": test}, others=train, seed=seed)
    rest = [group for group in order if group not in small]
    large = _draw(rest, weights, wanted={"train": train}, others=0, seed=seed)
    nearest = _draw(order, weights, wanted={"train": train}, others=val + test, seed=seed)
    if _missed(large, weights, train) == _missed(nearest, weights, train):
        return {**small, **large}
    return _draw(order, weights, wanted={"val": val, "test": test, "train": train}, others=0, seed=seed)


def _missed(drawn: Iterable[str], weights: Mapping[str, int], wanted: int) -> int:
    return abs(sum(weights[group] for group in drawn) - wanted)


def _draw(
    order: Sequence[str], weights: Mapping[str, int], *, wanted: Mapping[str, int], others: int, seed: int
) -> dict[str, str]:
    """Draw parts of the wanted totals, or the nearest ones; the groups of no part are not in the answer.

    ``others`` is how much the groups of no part should weigh: more than zero, and some will be left.
    """
    heaviest = max((weights[group] for group in order), default=0)
    grid = _Grid([want + heaviest for want in wanted.values()])
    reach = _reach(grid, [weights[group] for group in order])
    total = sum(weights[group] for group in order)
    needs = grid.nearest(next(reach), tuple(wanted.values()), total=total, others=others)
    draw = random.Random(seed + 1)  # noqa: S311
    parts: dict[str, str] = {}
    for group, possible in zip(order, reach, strict=True):
        weight = weights[group]
        chances = [(name, needs[axis], _less(needs, axis, weight)) for axis, name in enumerate(wanted)]
        chances.append(("", total - sum(needs), needs))
        open_to = [(name, max(need, 1e-9), left) for name, need, left in chances if grid.holds(possible, left)]
        ((name, _, needs),) = draw.choices(open_to, [need for _, need, _ in open_to])
        total -= weight
        if name:
            parts[group] = name
    return parts


def _less(needs: tuple[int, ...], axis: int, weight: int) -> tuple[int, ...]:
    return (*needs[:axis], needs[axis] - weight, *needs[axis + 1 :])


def _reach(grid: "_Grid", weights: Sequence[int]) -> Iterator[int]:
    """Yield the sums within reach of all groups, of all but the first, and so on to those of none.

    They are made from the last group backwards and wanted forwards. A set of three sums can take megabytes, so only
    some are kept, and those between two of them are made a second time.
    """
    apart = isqrt(len(weights)) + 1
    blocks = [weights[index : index + apart] for index in range(0, len(weights), apart)]
    kept = [grid.ZEROS]
    for block in reversed(blocks[1:]):
        kept.append(reduce(grid.extend, reversed(block), kept[-1]))
    for block in blocks:
        _, *made = accumulate(reversed(block), grid.extend, initial=kept.pop())
        yield from reversed(made)
    yield grid.ZEROS


class _Grid:
    """Sets of several sums as one integer: a bit for each tuple of sums, the last one's neighbours side by side."""

    ZEROS = 1
    """The set of what no group at all makes."""

    def __init__(self, limits: Sequence[int]) -> None:
        self._sizes = [limit + 1 for limit in limits]
        self._strides = [prod(self._sizes[axis + 1 :]) for axis in range(len(limits))]
        self._bits = prod(self._sizes)
        self._room = cache(self._find_room)  # of this grid, so that it goes with it

    def extend(self, sums: int, weight: int) -> int:
        """Return the sums and those that a group of this weight makes of them: in one part, or in none."""
        more = ((sums & self._room(axis, weight)) << weight * stride for axis, stride in enumerate(self._strides))
        return reduce(or_, more, sums)

    def holds(self, sums: int, point: tuple[int, ...]) -> bool:
        inside = all(0 <= value < size for value, size in zip(point, self._sizes, strict=True))
        return inside and bool(sums >> sum(map(mul, point, self._strides)) & 1)

    def nearest(self, sums: int, wanted: tuple[int, ...], *, total: int, others: int) -> tuple[int, ...]:
        """Return the tuple of sums in the set that differs least from the wanted one.

        Neither a wanted part nor, where ``others`` are wanted, the rest of ``total`` stays empty if that can be helped.
        """
        best: dict[int, tuple[int, ...]] = {}
        farthest = sum(max(want, size - 1 - want) for want, size in zip(wanted, self._sizes, strict=True))
        for distance in range(farthest + 1):
            for point in sorted(_around(wanted, distance), key=lambda point: (_largest_gap(point, wanted), point)):
                if self.holds(sums, point):
                    best.setdefault(_emptied(point, wanted, total - sum(point), others), point)
            if 0 in best:
                break
        return best[min(best)]

    def _find_room(self, axis: int, weight: int) -> int:
        """All points whose sum on this axis stays inside when ``weight`` is added."""
        size, stride = self._sizes[axis], self._strides[axis]
        pattern, width = (1 << max(size - weight, 0) * stride) - 1, size * stride
        while width < self._bits:
            pattern |= pattern << width
            width *= 2
        return pattern & (1 << self._bits) - 1


def _around(centre: tuple[int, ...], distance: int) -> Iterator[tuple[int, ...]]:
    """Yield the points whose differences from the centre sum to ``distance``."""
    first, *rest = centre
    if not rest:
        yield from ((value,) for value in {first - distance, first + distance})
        return
    for off in range(-distance, distance + 1):
        for others in _around(tuple(rest), distance - abs(off)):
            yield (first + off, *others)


def _emptied(point: tuple[int, ...], wanted: tuple[int, ...], left: int, others: int) -> int:
    return sum(found == 0 < want for found, want in zip((*point, left), (*wanted, others), strict=True))


def _largest_gap(point: tuple[int, ...], wanted: tuple[int, ...]) -> int:
    return max(abs(found - want) for found, want in zip(point, wanted, strict=True))


def _slashed(counts: Sequence[int]) -> str:
    return "/".join(str(count) for count in counts)
