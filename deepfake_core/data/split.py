"""Split videos so that no person stands on both sides of a line.

A fake ``A_B`` shows the head of A and the face of B; so A, B and every video made from them form one group, and a
group is given to a split whole. Reads the videos table; writes the splits table and the leak report.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from deepfake_core import receipts, tables
from deepfake_core.config import SplitConfig
from deepfake_core.data.groups import Groups, group_people, people_of_id, people_of_videos, sharing_youtube_id
from deepfake_core.data.layout import ORIGINAL
from deepfake_core.data.leaks import LeakReport, find_leaks, is_whole, write_leak_report
from deepfake_core.data.lists import SplitLists, read_lists
from deepfake_core.data.official import people_of_lists, split_by_lists
from deepfake_core.data.ratio import split_by_ratio
from deepfake_core.errors import SplitError, TornGroupError
from deepfake_core.progress import SILENT, Progress
from deepfake_core.report import StageReport
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
    lists = _read_lists(workspace, source=Path(download.report.outputs["source"]), config=config)
    with receipts.open_stage(workspace, "split", config=config, external={"lists": lists.digest}) as work:
        if work.found and is_whole(workspace.leak_report):
            return _told(work.found, lists.notes)
        videos = tables.read(workspace.videos_table, schema=tables.VIDEOS)
        splits, leaks = assign_splits(videos, config=config, lists=lists)
        refuse_torn_groups(splits)
        tables.write(workspace.splits_table, splits, schema=tables.SPLITS)
        write_leak_report(leaks, workspace.leak_report)
        report = work.finish(_report(workspace, leaks), outputs=[workspace.splits_table])
        return _told(report, lists.notes)


def foresee_split(workspace: Workspace, videos: pa.Table, *, source: Path, config: SplitConfig) -> None:
    """Refuse a split that the names of the videos alone show to be impossible, before hours are spent on them.

    Args:
        workspace: keeps the lists that come from a URL.
        videos: ``tables.VIDEOS`` as it will be if every video can be read.
        source: folder of the videos; its ``splits/`` holds the lists where ``config`` names none.
        config: the mode, the lists or counts, and the seed.

    Raises:
        SplitError: see ``split_videos``.
    """
    assign_splits(videos, config=config, lists=_read_lists(workspace, source=source, config=config))


def foresee_lists(workspace: Workspace, *, source: Path, config: SplitConfig) -> None:
    """Refuse lists that are missing or wrong whatever the videos will be, before days are spent on a download.

    Args:
        workspace: keeps the lists that come from a URL.
        source: folder of the videos; its ``splits/`` holds the lists where ``config`` names none.
        config: the mode and the lists.

    Raises:
        SplitError: a list is missing, cannot be read or is no list of pairs, or they name a person twice.
    """
    people_of_lists(_read_lists(workspace, source=source, config=config))


def assign_splits(videos: pa.Table, *, config: SplitConfig, lists: SplitLists) -> tuple[pa.Table, LeakReport]:
    """Return the splits of the readable videos, and what could leak across them.

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
    shared = sharing_youtube_id(lists.youtube_ids, {name for shown in people.values() for name in shown})
    originals = {people[video_id][0] for video_id in _ids(readable, method=ORIGINAL)}
    notes: list[str] = []
    if config.mode == "official":
        groups = group_people(people.values())
        by_group = split_by_lists(groups, originals=originals, lists=lists)
        outside = "whom the official lists do not name"
    else:
        groups = group_people([*people.values(), *shared.values()])
        by_group, notes = split_by_ratio(groups, originals=originals, config=config)
        outside = "beyond split.counts"
    splits = _table(people, groups, by_group, _collisions(shared, groups, by_group))
    if left_out := videos.num_rows - readable.num_rows:
        notes.append(f"unreadable or missing videos, in no split: {left_out}")
    if unused := readable.num_rows - splits.num_rows:
        notes.append(f"videos of people {outside}, in no split: {unused}")
    leaks = find_leaks(
        videos,
        splits,
        groups,
        shared=shared,
        mode=config.mode,
        lists=lists.where,
        youtube_ids_known=bool(lists.youtube_ids),
        notes=tuple(notes),
    )
    return splits, leaks


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


def _read_lists(workspace: Workspace, *, source: Path, config: SplitConfig) -> SplitLists:
    return read_lists(config, default=source / "splits", kept=workspace.split_lists)


def _told(report: StageReport, notes: Sequence[str]) -> StageReport:
    """Add remarks on this run alone, which no receipt keeps."""
    return report.model_copy(update={"notes": (*report.notes, *notes)})


def _ids(videos: pa.Table, *, method: str) -> list[str]:
    ids: list[str] = videos.filter(pc.equal(videos["method"], method))["video_id"].to_pylist()
    return ids


def _collisions(
    shared: Mapping[str, Sequence[str]], groups: Groups, by_group: Mapping[str, str]
) -> dict[str, list[str]]:
    """Return person → the people of other splits who were cut from the same YouTube video."""
    found: dict[str, list[str]] = {}
    for people in shared.values():
        sides = {name: by_group.get(groups.of[name]) for name in people}
        for name in people:
            others = [other for other in people if sides[name] and sides[other] and sides[other] != sides[name]]
            found[name] = found.get(name, []) + others
    return found


def _table(
    people: Mapping[str, Sequence[str]],
    groups: Groups,
    by_group: Mapping[str, str],
    collisions: Mapping[str, Sequence[str]],
) -> pa.Table:
    rows = []
    for video_id, shown in people.items():
        group = groups.of[shown[0]]
        if group in by_group:
            others = sorted({other for name in shown for other in collisions.get(name, ())})
            rows.append(
                {
                    "video_id": video_id,
                    "group": group,
                    "split": by_group[group],
                    "collision": ", ".join(others) or None,
                }
            )
    return tables.from_rows(rows, tables.SPLITS)


def _report(workspace: Workspace, leaks: LeakReport) -> StageReport:
    in_splits = {size.split: size.originals + size.manipulated for size in leaks.splits}
    return StageReport(
        stage="split",
        counts={"groups": len(leaks.groups), **in_splits, "collisions": len(leaks.collisions)},
        notes=leaks.notes,
        table=tuple(size.model_dump() for size in leaks.splits),
        outputs={"splits": str(workspace.splits_table), "leak report": str(workspace.leak_report)},
    )


def _in_order(splits: set[str]) -> list[str]:
    return sorted(splits, key=lambda split: SPLITS.index(split) if split in SPLITS else len(SPLITS))
