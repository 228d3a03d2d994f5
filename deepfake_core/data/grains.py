"""Aggregate the tables to the grains on which data quality is judged: faces, videos, groups, splits, the data set.

Great Expectations looks at columns, so every question becomes a column first: *how far is the frame count off*,
*is the target there*, *in how many splits is this group*. Everything here is vectorised: 1.2 million faces take
about a second. Nothing here judges; the suites in ``expectations/`` do.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from deepfake_core.specs import SamplingSpec
from deepfake_core.workspace import SPLITS

FACE_COLUMNS = ("video_id", "frame", "x1", "y1", "x2", "y2", "sharpness", "width", "height", "status")
"""What is needed of the faces index."""

Floats = npt.NDArray[np.float32]

_UNREADABLE = ("unreadable", "missing", "timeout", "crashed")


@dataclass(frozen=True)
class Grains:
    """One data frame a grain.

    Attributes:
        faces: a row a face: ``video`` (row number in ``videos``), ``frame``, ``face_pixels`` (shorter box side),
            ``box_in_frame`` (share of the box inside the frame), ``box_aspect`` (longer ÷ shorter side),
            ``sharpness``, ``box_jump`` (step of the box centre since the sampled frame before, in box widths; null
            for the first face and after a gap).
        videos: a row a video: its identity, ``split``, ``group``, and ``unreadable`` (0 or 1), ``lost_at``,
            ``frame_count_error``, ``faces``, ``no_face_share``, ``has_target``, ``contradicted_by``,
            ``duplicate_of``, ``faces_unaccounted``, ``file_problem``, ``not_measured``; null where a question does
            not apply.
        groups: a row a group: ``splits`` (number), ``split_names``, ``people``, ``shared_people``, ``collisions``.
        splits: a row for each of train, val and test: ``faces``, ``smaller_class_share``, ``method_imbalance``,
            ``compression_imbalance`` and counts.
        dataset: a single row of totals.
        strangers: a row a video that the videos table does not know: ``video_id``, ``rows`` (number, in the other
            tables), ``where``. No suite looks at it; the data set has its total.
    """

    faces: pd.DataFrame
    videos: pd.DataFrame
    groups: pd.DataFrame
    splits: pd.DataFrame
    dataset: pd.DataFrame
    strangers: pd.DataFrame

    def of(self, grain: str) -> pd.DataFrame:
        """Return the data frame of a grain by its name."""
        frame = getattr(self, grain)
        assert isinstance(frame, pd.DataFrame)  # noqa: S101 - narrows the type
        return frame


GRAINS = ("faces", "videos", "groups", "splits", "dataset")


def build_grains(
    videos: pa.Table,
    *,
    splits: pa.Table,
    extractions: pa.Table,
    faces: pa.Table,
    sampling: SamplingSpec,
    file_problems: Mapping[str, str] | None = None,
) -> Grains:
    """Aggregate the tables.

    Args:
        videos: ``tables.VIDEOS``.
        splits: ``tables.SPLITS``.
        extractions: ``tables.EXTRACTIONS``.
        faces: ``tables.FACES_INDEX``, at least its ``FACE_COLUMNS``.
        sampling: which frames the extraction looked at.
        file_problems: what is wrong with a per-video file, by video id; videos not named are fine.
    """
    per_video = _join(videos, splits=splits, extractions=extractions)
    per_face = _per_face(faces, video_ids=per_video["video_id"], step=sampling.step)
    _count_faces(per_video, per_face)
    _count_frames(per_video, sampling)
    _find_losses(per_video)
    _find_gaps(per_video, per_face)
    _find_targets(per_video)
    _find_duplicates(per_video)
    per_video["file_problem"] = per_video["video_id"].map(dict(file_problems or {})).astype(object)
    per_split = _per_split(per_video)
    strangers = _find_strangers(per_video["video_id"], splits=splits, extractions=extractions, faces=faces)
    return Grains(
        faces=per_face,
        videos=per_video,
        groups=_per_group(per_video),
        splits=per_split,
        dataset=_totals(per_video, per_split).assign(unknown_rows=float(strangers["rows"].sum())),
        strangers=strangers,
    )


def _join(videos: pa.Table, *, splits: pa.Table, extractions: pa.Table) -> pd.DataFrame:
    looked_at = extractions.select(
        ["video_id", "frames_sampled", "faces", "no_face", "jumps", "status", "reason"]
    ).rename_columns(
        ["video_id", "frames_sampled", "faces_listed", "no_face", "jumps", "extraction", "extraction_reason"]
    )
    joined = _frame(videos).merge(_frame(splits), on="video_id", how="left")
    joined = joined.merge(_frame(looked_at), on="video_id", how="left")
    unreadable = (joined["status"] != "ok") | joined["extraction"].isin(_UNREADABLE)
    joined["unreadable"] = unreadable.astype(float)
    joined["why_unreadable"] = joined["reason"].fillna(joined["extraction_reason"]).where(unreadable, None)
    return joined


def _frame(table: pa.Table) -> pd.DataFrame:
    """Convert to pandas with plain objects for text: Great Expectations stumbles over pandas' own string type."""
    frame = pd.DataFrame(
        {
            name: column.to_numpy(zero_copy_only=False)
            for name, column in zip(table.column_names, table.columns, strict=True)
        },
    )
    texts = [field.name for field in table.schema if pa.types.is_string(field.type)]
    return frame.astype(dict.fromkeys(texts, object))


def _per_face(faces: pa.Table, *, video_ids: "pd.Series[str]", step: int) -> pd.DataFrame:
    """Measure every face; rows come back ordered by video and frame."""
    faces = faces.filter(pc.equal(faces["status"], "ok"))
    number = {video_id: row for row, video_id in enumerate(video_ids)}
    coded = faces["video_id"].combine_chunks().dictionary_encode()
    places = np.array([number.get(video_id, -1) for video_id in coded.dictionary.to_pylist()], dtype=np.int32)
    video = places[coded.indices.to_numpy()] if len(coded) else np.empty(0, dtype=np.int32)
    frame = faces["frame"].to_numpy()
    order = np.lexsort((frame, video))
    order = order[video[order] >= 0]
    x1, y1, x2, y2, width, height = (
        faces[name].to_numpy().astype(np.float32)[order] for name in ("x1", "y1", "x2", "y2", "width", "height")
    )
    video, frame = video[order], frame[order]
    sides = np.stack([x2 - x1, y2 - y1])
    inside = _overlap(x1, x2, width) * _overlap(y1, y2, height)
    shorter = sides.min(axis=0, initial=np.inf)
    measured = {
        "face_pixels": shorter,
        "box_in_frame": inside / np.maximum(sides.prod(axis=0), 1e-6),
        "box_aspect": sides.max(axis=0, initial=0.0) / np.maximum(shorter, 1e-6),
        "sharpness": faces["sharpness"].to_numpy()[order],
        "box_jump": _jumps((x1 + x2) / 2, (y1 + y2) / 2, width=sides[0], video=video, frame=frame, step=step),
    }
    # Great Expectations compares float64 as a whole column, anything else value by value in Python.
    return pd.DataFrame({"video": video, "frame": frame, **measured}).astype(dict.fromkeys(measured, float))


def _overlap(low: npt.NDArray[np.float32], high: npt.NDArray[np.float32], size: npt.NDArray[np.float32]) -> Floats:
    """Return how much of each interval low..high lies inside 0..size."""
    inside: Floats = np.maximum(np.minimum(high, size) - np.maximum(low, 0.0), 0.0)
    return inside


def _jumps(
    x: Floats,
    y: Floats,
    *,
    width: Floats,
    video: npt.NDArray[np.int32],
    frame: npt.NDArray[np.int32],
    step: int,
) -> Floats:
    """Return the step of the box centre since the frame before, in widths of the box it left; NaN after a gap."""
    jumps = np.full(len(x), np.nan, dtype=np.float32)
    follows = (np.diff(video) == 0) & (np.diff(frame) <= step)
    distance = np.hypot(np.diff(x), np.diff(y)) / np.maximum(width[:-1], 1.0)
    jumps[1:][follows] = distance[follows]
    return jumps


def _count_faces(videos: pd.DataFrame, faces: pd.DataFrame) -> None:
    found = np.bincount(faces["video"].to_numpy(), minlength=len(videos)).astype(float)
    readable = videos["unreadable"] == 0
    videos["faces"] = np.where(readable, found, np.nan)
    videos["faces_unaccounted"] = np.abs(found - videos["faces_listed"].fillna(0.0).to_numpy())
    videos["no_face_share"] = videos["no_face"] / videos["frames_sampled"].where(videos["frames_sampled"] > 0)


def _count_frames(videos: pd.DataFrame, sampling: SamplingSpec) -> None:
    """Compare the sampled frames with ``duration × fps ÷ step``; being off by one frame is free.

    A container that declares no duration or no frame rate is as long as the frames that were counted in it.
    """
    offsets = videos["compression"].map(sampling.offset_of).astype(float)
    declared = videos["duration"] * videos["fps"]
    length = declared.where(declared > 0, videos["frames"])
    expected = np.ceil((length - offsets).clip(lower=0) / sampling.step)
    if sampling.max_frames is not None:
        expected = expected.clip(upper=sampling.max_frames)
    readable = videos["unreadable"] == 0
    videos["frames_expected"] = expected.where(readable)
    off = ((videos["frames_sampled"] - videos["frames_expected"]).abs() - 1).clip(lower=0)
    videos["frame_count_error"] = off / videos["frames_expected"].clip(lower=1)


def _find_losses(videos: pd.DataFrame) -> None:
    """Name the table that a readable video is missing from.

    A video may stand in no split when nobody in it stands in one: a split need not use everybody.
    """
    lost = pd.Series(None, index=videos.index, dtype=object)
    shown = pd.concat([_people(videos, role) for role in ("target", "source")], axis=1, keys=("target", "source"))
    placed = videos["split"].notna()
    used = set(pd.concat([shown[placed][role] for role in shown]).dropna())
    of_placed_people = shown.isin(used).any(axis=1)
    lost[(videos["unreadable"] == 0) & ~placed & of_placed_people] = "split"
    lost[(videos["status"] == "ok") & videos["extraction"].isna()] = "extract"
    videos["lost_at"] = lost


def _find_gaps(videos: pd.DataFrame, faces: pd.DataFrame) -> None:
    """Name what nobody knows of a video that was looked at: a null passes every other question unseen."""
    unmeasured = faces["face_pixels"].isna() | faces["box_in_frame"].isna() | faces["sharpness"].isna()
    incomplete = np.bincount(faces["video"].to_numpy(), weights=unmeasured.to_numpy(), minlength=len(videos)) > 0
    gaps = {
        "its length": videos["frames_expected"].isna(),
        "how many frames were sampled": videos["frames_sampled"].isna(),
        "its SHA-256": videos["sha256"].isna(),
        "size or sharpness of a face": pd.Series(incomplete, index=videos.index),
    }
    looked_at = (videos["unreadable"] == 0) & videos["extraction"].notna()
    named = pd.Series("", index=videos.index, dtype=object)
    for name, missing in gaps.items():
        named = named.mask(missing, named + f", {name}")
    videos["not_measured"] = named.str.removeprefix(", ").where(looked_at & (named != ""), None).astype(object)


def _people(videos: pd.DataFrame, role: str) -> "pd.Series[str]":
    """Return who stands in a role, named across data sets, such as ``ffpp/183``; null where nobody does."""
    return videos["dataset"] + "/" + videos[role]


def _find_targets(videos: pd.DataFrame) -> None:
    """Mark for each fake whether the original of its target is there, readable, at the same compression."""
    key = pd.MultiIndex.from_frame(videos[["dataset", "target", "compression"]])
    fake = videos["label"] == 1
    originals = key[(~fake & (videos["unreadable"] == 0)).to_numpy()]
    videos["has_target"] = pd.Series(key.isin(originals), index=videos.index).astype(float).where(fake)


def _find_duplicates(videos: pd.DataFrame) -> None:
    """Name another video with the same bytes, and apart from that one with another label or split."""
    duplicate_of: dict[str, str] = {}
    contradicted_by: dict[str, str] = {}
    known = videos[(videos["status"] == "ok") & videos["sha256"].notna()]
    for _, same in known[known.duplicated("sha256", keep=False)].groupby("sha256", sort=True):
        twins = list(same[["video_id", "label", "split"]].itertuples(index=False, name=None))
        for video_id, label, split in twins:
            others = [twin for twin in twins if twin[0] != video_id]
            at_odds = [name for name, *about in others if about[0] != label or _two_splits(about[1], split)]
            duplicate_of[video_id] = others[0][0]
            if at_odds:
                contradicted_by[video_id] = at_odds[0]
    videos["duplicate_of"] = videos["video_id"].map(duplicate_of).astype(object)
    videos["contradicted_by"] = videos["video_id"].map(contradicted_by).astype(object)


def _two_splits(one: Any, other: Any) -> bool:
    """Say whether two videos stand in different splits; one that stands in none leaks nowhere."""
    return bool(pd.notna(one) and pd.notna(other) and one != other)


def _find_strangers(known: "pd.Series[str]", **others: pa.Table) -> pd.DataFrame:
    """Count the rows of other tables whose video the videos table does not know."""
    found = []
    for name, table in others.items():
        counted = table["video_id"].combine_chunks().value_counts()
        ids, rows = (counted.field(place).to_numpy(zero_copy_only=False) for place in (0, 1))
        found.append(pd.DataFrame({"video_id": ids.astype(object), "rows": rows, "table": name}))
    strange = pd.concat(found)
    strange = strange[~strange["video_id"].isin(known)]
    told = strange.assign(where=strange["rows"].astype(str) + " in the " + strange["table"])
    by_video = told.groupby("video_id", sort=True)
    return by_video.agg(rows=("rows", "sum"), where=("where", ", ".join)).reset_index()


def _per_group(videos: pd.DataFrame) -> pd.DataFrame:
    """Count splits by group, and look for people in several groups by the videos' own targets and sources."""
    placed = videos[videos["group"].notna()]
    shown = pd.concat(
        [pd.DataFrame({"group": placed["group"], "person": _people(placed, role)}) for role in ("target", "source")]
    )
    shown = shown.dropna().drop_duplicates()
    shared = shown[shown.duplicated("person", keep=False)]
    by_group = placed.groupby("group", sort=True)
    texts = {
        "split_names": by_group["split"].agg(_names),
        "people": shown.groupby("group")["person"].agg(_names),
        "shared_people": shared.groupby("group")["person"].agg(_names),
        "collisions": placed.dropna(subset="collision").groupby("group")["collision"].agg(_names),
    }
    groups = pd.DataFrame({"videos": by_group.size(), "splits": by_group["split"].nunique(), **texts})
    return groups.astype(dict.fromkeys(texts, object)).reset_index(names="group")


def _names(values: "pd.Series[str]") -> str:
    return ", ".join(sorted({name.strip() for value in values for name in value.split(",")}))


def _per_split(videos: pd.DataFrame) -> pd.DataFrame:
    videos = videos[videos["split"].notna()]
    methods = videos["method"][videos["label"] == 1]
    rows = []
    for split in SPLITS:
        inside = videos[videos["split"] == split]
        manipulated = inside[inside["label"] == 1]
        faces, fake_faces = inside["faces"].sum(), manipulated["faces"].sum()
        rows.append(
            {
                "split": split,
                "groups": inside["group"].nunique(),
                "videos": len(inside),
                "faces": faces,
                "original_faces": faces - fake_faces,
                "manipulated_faces": fake_faces,
                "smaller_class_share": min(fake_faces, faces - fake_faces) / faces if faces else 0.0,
                "method_imbalance": _imbalance(manipulated, "method", among=methods),
                "compression_imbalance": _imbalance(inside, "compression", among=videos["compression"]),
            }
        )
    return pd.DataFrame(rows)


def _imbalance(videos: pd.DataFrame, column: str, *, among: "pd.Series[str]") -> float:
    """Return faces of the most ÷ of the least frequent value; infinite when one is missing, NaN when none is known."""
    faces = videos.groupby(column)["faces"].sum().reindex(among.unique(), fill_value=0.0)
    if faces.empty or not faces.max():
        return float("nan")
    return float(faces.max() / faces.min()) if faces.min() else float("inf")


def _totals(videos: pd.DataFrame, splits: pd.DataFrame) -> pd.DataFrame:
    sampled = videos["frames_sampled"].sum()
    by_split = splits.set_index("split")["faces"]
    original = videos["label"] == 0
    return pd.DataFrame(
        [
            {
                "videos": len(videos),
                "unreadable_share": videos["unreadable"].mean() if len(videos) else 1.0,
                "frames_sampled": sampled,
                "no_face_share": videos["no_face"].sum() / sampled if sampled else 1.0,
                "faces": videos["faces"].sum(),
                "original_faces": videos["faces"][original].sum(),
                "manipulated_faces": videos["faces"][~original].sum(),
                **{f"{split}_faces": by_split[split] for split in SPLITS},
            }
        ]
    )
