"""The leak report: who stands on which side of the split, and what could still leak across it.

In: the videos, their splits, the groups and the YouTube ids. Out: a page that people read, and the same as JSON.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from deepfake_core import files, pages
from deepfake_core.data.groups import Groups, people_of_videos
from deepfake_core.data.layout import ORIGINAL
from deepfake_core.workspace import SPLITS

VALUES = "leaks.json"
"""Name of the file beside the page that holds the same as data."""


class _Values(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SplitSize(_Values):
    """How much one split holds."""

    split: str
    groups: int
    people: int
    originals: int
    manipulated: int


class Balance(_Values):
    """Videos of one method at one compression, by split."""

    dataset: str
    method: str
    compression: str
    train: int
    val: int
    test: int
    unassigned: int


class Group(_Values):
    """People who are never torn apart; ``split`` is None where they are in none."""

    group: str
    split: str | None
    people: tuple[str, ...]
    videos: int


class SharedVideo(_Values):
    """A YouTube video from which several originals were cut.

    Attributes:
        youtube_id: of the video.
        people: those cut from it, and their splits.
        collision: they stand in different splits.
    """

    youtube_id: str
    people: dict[str, str | None]
    collision: bool


class LeakReport(_Values):
    """What could leak across the split.

    Attributes:
        mode: ``official`` or ``ratio``.
        lists: where the official lists and the YouTube ids were looked for.
        youtube_ids_known: a table of YouTube ids was at hand.
        splits: how much each split holds.
        balance: videos by method and compression.
        shared: YouTube videos shared by several people.
        groups: all groups.
        without_original: people who are only seen in fakes.
        unreadable: videos that cannot be read and are in no split.
        notes: remarks on what was asked for and could not be had.
    """

    mode: str
    lists: str
    youtube_ids_known: bool
    splits: tuple[SplitSize, ...]
    balance: tuple[Balance, ...]
    shared: tuple[SharedVideo, ...]
    groups: tuple[Group, ...]
    without_original: tuple[str, ...]
    unreadable: int
    notes: tuple[str, ...]

    @property
    def collisions(self) -> tuple[SharedVideo, ...]:
        """The shared videos whose people stand in different splits."""
        return tuple(video for video in self.shared if video.collision)


def find_leaks(
    videos: pa.Table, splits: pa.Table, groups: Groups, *, shared: Mapping[str, Sequence[str]], **about: Any
) -> LeakReport:
    """Count what stands where.

    Args:
        videos: ``tables.VIDEOS``.
        splits: ``tables.SPLITS``.
        groups: of all people in readable videos.
        shared: YouTube id → the people cut from it, two or more.
        **about: the fields ``mode``, ``lists``, ``youtube_ids_known`` and ``notes`` of the report.
    """
    split_of = dict(zip(splits["video_id"].to_pylist(), splits["split"].to_pylist(), strict=True))
    by_group = dict(zip(splits["group"].to_pylist(), splits["split"].to_pylist(), strict=True))
    rows = videos.select(["video_id", "dataset", "method", "compression", "label", "status"]).to_pylist()
    readable = [row for row in rows if row["status"] == "ok"]
    people = people_of_videos(videos)
    videos_of = Counter(groups.of[people[row["video_id"]][0]] for row in readable)
    with_original = {people[row["video_id"]][0] for row in readable if row["method"] == ORIGINAL}
    return LeakReport(
        splits=tuple(_size(split, readable, split_of, by_group, groups) for split in SPLITS),
        balance=tuple(_balance(readable, split_of)),
        shared=tuple(_shared(shared, by_group, groups)),
        groups=tuple(
            Group(group=group, split=by_group.get(group), people=members, videos=videos_of[group])
            for group, members in groups.people.items()
        ),
        without_original=tuple(sorted(groups.of.keys() - with_original)),
        unreadable=len(rows) - len(readable),
        **about,
    )


def write_leak_report(report: LeakReport, path: Path) -> None:
    """Write the report as a page to ``path`` and as ``leaks.json`` beside it."""
    files.write_json(path.with_name(VALUES), report.model_dump(mode="json"))
    files.write_text(path, render_leak_report(report))


def is_whole(path: Path) -> bool:
    """Say whether both the page at ``path`` and its values are still there."""
    return path.is_file() and path.with_name(VALUES).is_file()


def render_leak_report(report: LeakReport) -> str:
    """Return the report as one self-contained page."""
    total = sum(size.originals + size.manipulated for size in report.splits)
    datasets = sorted({row.dataset for row in report.balance})
    folds = [(split, [group for group in report.groups if group.split == split]) for split in (*SPLITS, None)]
    return pages.render(
        "leaks.html.j2",
        title="Who is on which side",
        banner=_banner(report),
        report=report,
        total=total,
        cards=_cards(report, total),
        sizes=sorted(Counter(len(group.people) for group in report.groups).items()),
        folds=[(split, groups) for split, groups in folds if groups],
        datasets=datasets,
        called=lambda person: person if len(datasets) > 1 else person.partition("/")[2],
        colours=dict(zip(SPLITS, ("c1", "c2", "c3"), strict=True)),
    )


def _banner(report: LeakReport) -> pages.Banner:
    if report.collisions:
        count = len(report.collisions)
        return pages.Banner(
            tone="warn",
            title=f"No group is torn, but {count} YouTube {'video is' if count == 1 else 'videos are'} on two sides",
            text="Originals cut from one YouTube video most likely show one person. The official lists place them so; "
            "results are comparable with other work, and a little too good for these people. They are listed below.",
        )
    known = "No two splits share a YouTube video." if report.youtube_ids_known else "YouTube ids are not known here."
    return pages.Banner(tone="ok", title="No person stands on both sides of the split", text=known)


def _cards(report: LeakReport, total: int) -> list[tuple[str, int, str | None]]:
    people = sum(len(group.people) for group in report.groups)
    only_fakes = len(report.without_original)
    outside = sum(group.videos for group in report.groups if group.split is None) + report.unreadable
    return [
        ("videos in splits", total, f"{pages.format_cell(outside)} in none" if outside else None),
        ("people", people, f"{pages.format_cell(only_fakes)} only in fakes" if only_fakes else None),
        ("groups", len(report.groups), None),
        ("collisions", len(report.collisions), None if report.youtube_ids_known else "YouTube ids not known"),
    ]


def _size(
    split: str,
    readable: Sequence[Mapping[str, Any]],
    split_of: Mapping[str, str],
    by_group: Mapping[str, str],
    groups: Groups,
) -> SplitSize:
    mine = [group for group, found in by_group.items() if found == split]
    labels = Counter(row["label"] for row in readable if split_of.get(row["video_id"]) == split)
    people = sum(len(groups.people[group]) for group in mine)
    return SplitSize(split=split, groups=len(mine), people=people, originals=labels[0], manipulated=labels[1])


def _balance(readable: Sequence[Mapping[str, Any]], split_of: Mapping[str, str]) -> list[Balance]:
    counts: dict[tuple[str, int, str, str], Counter[str]] = {}
    for row in readable:
        key = (row["dataset"], row["label"], row["method"], row["compression"])
        counts.setdefault(key, Counter())[split_of.get(row["video_id"], "unassigned")] += 1
    return [
        Balance(
            dataset=dataset,
            method=method,
            compression=compression,
            **{name: found[name] for name in (*SPLITS, "unassigned")},
        )
        for (dataset, _, method, compression), found in sorted(counts.items())
    ]


def _shared(shared: Mapping[str, Sequence[str]], by_group: Mapping[str, str], groups: Groups) -> list[SharedVideo]:
    found = []
    for youtube_id, people in shared.items():
        sides = {name: by_group.get(groups.of[name]) for name in people}
        apart = len(set(sides.values()) - {None}) > 1
        found.append(SharedVideo(youtube_id=youtube_id, people=sides, collision=apart))
    return sorted(found, key=lambda video: (not video.collision, min(video.people)))
