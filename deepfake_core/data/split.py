"""Split videos so that no person stands on both sides of a line.

A fake ``A_B`` shows the head of A and the face of B; so A, B and every video made from them form one group, and a
group is given to a split whole. Reads the videos table; writes the splits table and the leak report.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from math import floor
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from deepfake_core import receipts, tables
from deepfake_core.config import SplitConfig
from deepfake_core.data.groups import Groups, group_people, people_of_id, people_of_videos, person, sharing_youtube_id
from deepfake_core.data.layout import ORIGINAL
from deepfake_core.data.lists import SplitLists, read_lists
from deepfake_core.data.ratio import share_out
from deepfake_core.errors import SplitError, TornGroupError
from deepfake_core.progress import SILENT, Progress
from deepfake_core.report import Cell, StageReport
from deepfake_core.workspace import SPLITS, Workspace


def split_videos(workspace: Workspace, *, config: SplitConfig, progress: Progress = SILENT) -> StageReport:  # noqa: ARG001 - quick
    """Assign every readable video to train, validation or test, and say what could leak.

    Args:
        workspace: holds the videos table; receives the splits table and the leak report.
        config: ``mode`` (``official`` or ``ratio``), its lists or counts, and the seed.
        progress: not needed; all stages take it.

    Returns:
        Counts by split, and the identity collisions that remain.

    Raises:
        SplitError: a split would be empty, or the lists tear a group apart or are missing.
    """
    download = receipts.require_done(workspace, "download")
    lists = read_lists(config, default=Path(download.report.outputs["source"]) / "splits")
    with receipts.open_stage(workspace, "split", config=config, external={"lists": lists.digest}) as work:
        if work.found:
            return work.found
        videos = tables.read(workspace.videos_table, schema=tables.VIDEOS)
        splits, notes = assign_splits(videos, config=config, lists=lists)
        tables.write(workspace.splits_table, splits, schema=tables.SPLITS)
        return work.finish(_report(workspace, videos, splits, notes), outputs=[workspace.splits_table])


def assign_splits(videos: pa.Table, *, config: SplitConfig, lists: SplitLists) -> tuple[pa.Table, list[str]]:
    """Return the splits of the readable videos, and remarks on what was asked for and could not be had.

    Args:
        videos: ``tables.VIDEOS``.
        config: the mode, the counts and the seed.
        lists: the official lists (mode ``official``) and the YouTube ids, where known.

    Raises:
        SplitError: see ``split_videos``.
    """
    readable = videos.filter(pc.equal(videos["status"], "ok"))
    if readable.num_rows == 0:
        message = f"none of the {videos.num_rows} videos can be read, so there is nothing to split."
        raise SplitError(message)
    people = people_of_videos(readable)
    everyone = {name for shown in people.values() for name in shown}
    shared = sharing_youtube_id(lists.youtube_ids, everyone)
    originals = _originals(readable)
    notes: list[str] = []
    if config.mode == "official":
        groups = group_people(people.values())
        by_group = _official(groups, originals, lists)
    else:
        groups = group_people([*people.values(), *shared])
        by_group, notes = _ratio(groups, originals, config)
    collisions = _collisions(shared, {name: by_group.get(group) for name, group in groups.of.items()})
    rows = [
        {
            "video_id": video_id,
            "group": groups.of[shown[0]],
            "split": by_group[groups.of[shown[0]]],
            "collision": ", ".join(sorted({other for name in shown for other in collisions.get(name, ())})) or None,
        }
        for video_id, shown in people.items()
        if groups.of[shown[0]] in by_group
    ]
    if left_out := videos.num_rows - readable.num_rows:
        notes.append(f"{left_out} videos cannot be read and are in no split")
    if unused := readable.num_rows - len(rows):
        notes.append(f"{unused} videos of people beyond split.counts are in no split")
    return tables.from_rows(rows, tables.SPLITS), notes


def refuse_torn_groups(splits: pa.Table) -> None:
    """Refuse splits in which people of one group, or one person, stand on both sides of a line.

    The people are read from the video ids again, so a splits table that was edited by hand is found out too.

    Args:
        splits: ``tables.SPLITS``, or any table with its columns ``video_id``, ``group`` and ``split``.

    Raises:
        TornGroupError: names the groups and people that are torn.
    """
    sides: dict[str, set[str]] = {}
    columns = (splits[name].to_pylist() for name in ("video_id", "group", "split"))
    for video_id, group, split in zip(*columns, strict=True):
        for name in {group, *people_of_id(video_id)}:
            sides.setdefault(name, set()).add(split)
    torn = {name: found for name, found in sides.items() if len(found) > 1}
    if torn:
        shown = "; ".join(f"{name} in {' and '.join(_in_order(found))}" for name, found in sorted(torn.items())[:5])
        more = f" and {len(torn) - 5} more" if len(torn) > 5 else ""
        message = f"people stand on both sides of a split: {shown}{more}. Make the splits again: deepfake split."
        raise TornGroupError(message)


def _originals(readable: pa.Table) -> set[str]:
    found = readable.filter(pc.equal(readable["method"], ORIGINAL))
    pairs = zip(found["dataset"].to_pylist(), found["target"].to_pylist(), strict=True)
    return {person(dataset, target) for dataset, target in pairs}


def _official(groups: Groups, originals: set[str], lists: SplitLists) -> dict[str, str]:
    listed = _listed(lists)
    by_person = {name: listed.get(name.split("/", 1)[1]) for name in groups.of}
    unlisted = sorted(name for name, split in by_person.items() if split is None)
    if unlisted:
        message = (
            f"the official lists ({lists.where}) do not name {len(unlisted)} people of this workspace "
            f"({_some(unlisted)}). Use split.mode=ratio, or leave their videos out of download.datasets."
        )
        raise SplitError(message)
    by_group: dict[str, str] = {}
    for group, people in groups.people.items():
        sides = _in_order({split for name in people if (split := by_person[name])})
        if len(sides) > 1:
            where = ", ".join(f"{name} in {by_person[name]}" for name in people)
            message = (
                f"the official lists ({lists.where}) tear a group apart: fakes join {where}. "
                "Use split.mode=ratio, or take those fakes out."
            )
            raise SplitError(message)
        by_group[group] = sides[0]
    for split in SPLITS:
        if split not in by_group.values():
            names = sorted(name.split("/", 1)[1] for name in originals)
            message = (
                f"the official lists put no video of this workspace into {split!r} (found {len(names)} originals: "
                f"{_some(names)}). Use mode 'ratio', or download an identity of {split}.json."
            )
            raise SplitError(message)
    return by_group


def _listed(lists: SplitLists) -> dict[str, str]:
    listed: dict[str, str] = {}
    for split, pairs in (lists.pairs or {}).items():
        for name in (name for pair in pairs for name in pair):
            if listed.setdefault(name, split) != split:
                message = f"the official lists ({lists.where}) name {name} in {listed[name]}.json and in {split}.json."
                raise SplitError(message)
    return listed


def _ratio(groups: Groups, originals: set[str], config: SplitConfig) -> tuple[dict[str, str], list[str]]:
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


def _collisions(shared: Sequence[Sequence[str]], split_of: Mapping[str, str | None]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for people in shared:
        for name in people:
            others = [other for other in people if split_of[other] != split_of[name]]
            if others:
                found[name] = others
    return found


def _report(workspace: Workspace, videos: pa.Table, splits: pa.Table, notes: Sequence[str]) -> StageReport:
    by_split = Counter(splits["split"].to_pylist())
    groups = dict(zip(splits["group"].to_pylist(), splits["split"].to_pylist(), strict=True))
    collisions = splits.num_rows - splits["collision"].null_count
    label = dict(zip(videos["video_id"].to_pylist(), videos["label"].to_pylist(), strict=True))
    pairs = Counter((split, label[video]) for video, split in zip(*_columns(splits, "video_id", "split"), strict=True))
    table: list[dict[str, Cell]] = [
        {
            "split": split,
            "groups": sum(found == split for found in groups.values()),
            "originals": pairs[split, 0],
            "manipulated": pairs[split, 1],
        }
        for split in SPLITS
    ]
    return StageReport(
        stage="split",
        counts={"groups": len(groups), **{split: by_split[split] for split in SPLITS}, "collisions": collisions},
        notes=tuple(notes),
        table=tuple(table),
        outputs={"splits": str(workspace.splits_table)},
    )


def _columns(table: pa.Table, *names: str) -> list[list[str]]:
    return [table[name].to_pylist() for name in names]


def _in_order(splits: set[str]) -> list[str]:
    return sorted(splits, key=lambda split: SPLITS.index(split) if split in SPLITS else len(SPLITS))


def _some(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")


def _slashed(counts: Sequence[int]) -> str:
    return "/".join(str(count) for count in counts)
