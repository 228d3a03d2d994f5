"""Find what to show of a failed check: the rows furthest outside its bounds, and a few of their faces.

The verdict is not made here; this only helps people to see why it fell.
"""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from deepfake_core.data.checks import Check, write_number
from deepfake_core.data.grains import Grains

SHOWN = 8
"""Culprits shown a check, and faces."""
EXAMPLES = 3
"""Culprits that tables name."""
PER_VIDEO = 2
"""Faces of one video among them, so that one bad video does not hide the others."""

_CONSEQUENCES = {
    "duplicate_of": "same bytes as {}",
    "contradicted_by": "same bytes as {}",
    "lost_at": "not in the table of '{}'",
    "not_measured": "not known: {}",
    "shared_people": "{} also in another group",
    "collisions": "shares a YouTube video with {}",
}
"""How a text in such a column reads as a sentence."""


@dataclass(frozen=True)
class Place:
    """Where a face to show is.

    Attributes:
        video_id: of its video.
        frame: its index; None: any from the middle.
        remark: what to write below it beside the video.
    """

    video_id: str
    frame: int | None = None
    remark: str = ""


@dataclass(frozen=True)
class Culprit:
    """One row outside the bounds.

    Attributes:
        name: the video, face, group or split.
        seen: what was seen there, in words.
        places: faces that show it.
    """

    name: str
    seen: str
    places: tuple[Place, ...] = ()


def find_culprits(check: Check, grains: Grains) -> tuple[Culprit, ...]:
    """Return the rows furthest outside the bounds of a failed check, worst first, at most ``SHOWN``."""
    if check.grain == "dataset":
        return _strangers(grains) if check.show == "strangers" else _behind_a_total(check, grains.videos)
    frame = grains.of(check.grain)
    worst = _rows_outside(check, frame)
    if check.grain == "faces":
        return _faces(check, frame.loc[worst], grains.videos["video_id"])
    rows = _records(frame.loc[worst[:SHOWN]])
    if check.grain == "videos":
        return tuple(_video(row, _words(check, row)) for row in rows)
    column = "group" if check.grain == "groups" else "split"
    return tuple(
        Culprit(
            row[column],
            _words(check, row),
            _members(grains.videos[grains.videos[column] == row[column]], by=check.grain),
        )
        for row in rows
    )


def with_examples(check: Check, grains: Grains) -> Check:
    """Return a failed check with its first culprits in words, a passed one as it is."""
    few = () if check.passed else find_culprits(check, grains)[:EXAMPLES]
    return replace(check, examples=tuple(f"{culprit.name}: {culprit.seen}" for culprit in few))


def _rows_outside(check: Check, frame: pd.DataFrame) -> pd.Index:
    """Return the index of the rows outside, worst first where one can be worse; none behind a mean and its like."""
    if not (check.wants_none or check.bounds_rows):
        return pd.Index(check.named)
    values = frame[check.column]
    if check.wants_none:
        return values.index[values.notna()]
    bounds = check.bounds
    distance = pd.Series(float("nan"), index=values.index)
    if (low := bounds.get("min_value")) is not None:
        distance = distance.mask(values <= low if bounds.get("strict_min") else values < low, low - values)
    if (high := bounds.get("max_value")) is not None:
        distance = distance.mask(values >= high if bounds.get("strict_max") else values > high, values - high)
    return distance.dropna().sort_values(ascending=False, kind="stable").index


def _faces(check: Check, worst: pd.DataFrame, video_ids: "pd.Series[str]") -> tuple[Culprit, ...]:
    few = worst[worst.groupby("video").cumcount() < PER_VIDEO].head(SHOWN)
    return tuple(
        Culprit(
            f"{video_ids[row['video']]}, frame {row['frame']}",
            seen := _words(check, row),
            (Place(video_ids[row["video"]], int(row["frame"]), f"frame {row['frame']}: {seen}"),),
        )
        for row in _records(few)
    )


def _behind_a_total(check: Check, videos: pd.DataFrame) -> tuple[Culprit, ...]:
    if check.show is None or check.show not in videos:
        return ()
    values = videos[check.show].fillna(0)
    worst = videos.loc[values[values > 0].sort_values(ascending=False, kind="stable").index[:SHOWN]]
    return tuple(_video(row, _part_in_a_total(check, row)) for row in _records(worst))


def _strangers(grains: Grains) -> tuple[Culprit, ...]:
    rows = _records(grains.strangers.head(SHOWN))
    return tuple(_video(row, f"rows of it: {row['where']}") for row in rows)


def _part_in_a_total(check: Check, row: Mapping[Hashable, Any]) -> str:
    if row["unreadable"]:
        why = row["why_unreadable"]
        return why if isinstance(why, str) else "unreadable, no reason was noted"
    return write_number(row[check.show], check.unit)


def _video(row: Mapping[Hashable, Any], seen: str) -> Culprit:
    return Culprit(row["video_id"], seen, (Place(row["video_id"], remark=seen),))


def _members(videos: pd.DataFrame, *, by: str) -> tuple[Place, ...]:
    """Return one video for each thing worth telling apart: people and splits of a group, methods of a split."""
    apart = ["split", "target"] if by == "groups" else ["method", "compression"]
    few = videos[videos["faces"] > 0].sort_values("label", kind="stable").drop_duplicates(apart).head(SHOWN)
    return tuple(Place(row["video_id"], remark=str(row["split"])) for row in _records(few))


def _words(check: Check, row: Mapping[Hashable, Any]) -> str:
    if not check.column:
        return ", ".join(f"{column} {_say(row[column], check.unit)}" for column in check.columns)
    value = row[check.column]
    if isinstance(value, str):
        return _CONSEQUENCES.get(check.column, "{}").format(value)
    if check.column == "splits":
        return f"in {row['split_names']}"
    if check.column == "has_target":
        return f"no original {row['target']} at {row['compression']}"
    if check.column == "frame_count_error":
        return f"{row['frames_sampled']:.0f} frames sampled, {row['frames_expected']:.0f} expected"
    return _say(value, check.unit)


def _say(value: Any, unit: str) -> str:
    return value if isinstance(value, str) else write_number(value, unit)


def _records(frame: pd.DataFrame) -> Iterable[dict[Hashable, Any]]:
    return frame.to_dict("records")
