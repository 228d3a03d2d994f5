"""Write the quality report: one HTML file that says whether the data is fit, and shows what is not.

The verdict comes first, then each failed check with its worst rows and their faces, then what the data looks like,
then every check. The numbers come from the checks; nothing is judged here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from markupsafe import Markup

from deepfake_core import files, pages
from deepfake_core.data.checks import Check
from deepfake_core.data.culprits import SHOWN, Culprit, Place, find_culprits
from deepfake_core.data.grains import Grains
from deepfake_core.data.histograms import draw_histogram
from deepfake_core.data.suites import Suite
from deepfake_core.data.thumbnails import read_thumbnail
from deepfake_core.pages import Banner
from deepfake_core.workspace import Workspace

ORIGINAL = "original"
_TONES = {"critical": "bad", "warning": "warn", "info": "plain"}
_CHARTED = ("faces", "videos")
"""Grains whose columns have a distribution worth drawing."""
_FEWEST_VALUES = 4
"""A column with fewer distinct values is no distribution."""


@dataclass(frozen=True)
class Picture:
    """A face as the page shows it: a data URI, the video, and a remark."""

    uri: str
    video: str
    remark: str = ""


@dataclass(frozen=True)
class Failure:
    """A failed check, its worst rows, and faces that show it."""

    check: Check
    culprits: tuple[Culprit, ...]
    pictures: tuple[Picture, ...]

    @property
    def listed(self) -> bool:
        """Whether the rows need a list: not when each one is a face that is shown with its value."""
        return self.check.grain != "faces" or len(self.pictures) < len(self.culprits)

    @property
    def why_no_faces(self) -> str:
        """Why it shows no face, for people who look for one."""
        if self.culprits:
            return "There is no face to show: none was found there, or its file cannot be read."
        return "There is no face to show: this is one number for everything, no single row stands for it."


@dataclass(frozen=True)
class Share:
    """A piece of a stacked bar: colour class, name, faces and per cent of the longest bar."""

    colour: str
    name: str
    faces: int
    percent: float


def write_quality_report(
    workspace: Workspace, *, suites: Sequence[Suite], checks: Sequence[Check], grains: Grains
) -> None:
    """Write ``workspace.quality_report``.

    Args:
        workspace: also gives the sample faces.
        suites: what was asked, in the order of the page.
        checks: what was seen.
        grains: the data behind it.
    """
    page = pages.render(
        "quality.html.j2",
        title="Data quality",
        banner=say_verdict(checks),
        cards=_cards(checks, grains),
        failures=[_failure(workspace, check, grains) for check in _worst_first(checks)],
        methods=_methods(grains.videos),
        splits=_split_bars(grains),
        shapes=_shapes(checks, grains),
        suites=[(suite, [check for check in checks if check.suite == suite.name]) for suite in suites],
        samples=_samples(workspace, grains.videos),
        tones=_TONES,
        workspace=str(workspace.root),
    )
    files.write_text(workspace.quality_report, page)


def say_verdict(checks: Sequence[Check]) -> Banner:
    """Return the verdict in a sentence or two."""
    refused = sum(check.refuses for check in checks)
    warned = sum(check.warns for check in checks)
    warnings = f"{warned} warning{'s' if warned != 1 else ''}"
    if refused:
        title = f"Refused: {refused} critical check{'s' if refused > 1 else ''} failed"
        text = f"Nothing is learnt from this data until they hold. {warnings} beside them." if warned else ""
        return Banner(tone="bad", title=title, text=text or "Nothing is learnt from this data until they hold.")
    if warned:
        return Banner(
            tone="warn",
            title=f"Passed with {warnings}",
            text="The data may be used. Read the warnings below before you believe its metrics.",
        )
    return Banner(tone="ok", title=f"Passed: all {len(checks)} checks hold", text="The data may be used.")


def _worst_first(checks: Sequence[Check]) -> list[Check]:
    failed = [check for check in checks if not check.passed]
    return sorted(failed, key=lambda check: not check.refuses)


def _cards(checks: Sequence[Check], grains: Grains) -> list[tuple[str, str, str | None]]:
    total = grains.dataset.iloc[0]
    unreadable = int(grains.videos["unreadable"].sum())
    missed = int(grains.videos["no_face"].sum())
    return [
        ("videos", f"{len(grains.videos):,}", f"{unreadable:,} unreadable" if unreadable else "all readable"),
        ("faces", f"{len(grains.faces):,}", f"{missed:,} frames without" if missed else "one in every frame"),
        (
            "groups of people",
            f"{len(grains.groups):,}",
            "never torn apart" if _none_torn(grains) else "some torn apart",
        ),
        (
            "manipulated",
            pages.format_percent(total["manipulated_faces"] / total["faces"] if total["faces"] else None, 0),
            "of the faces",
        ),
        ("checks passed", f"{sum(check.passed for check in checks)} of {len(checks)}", None),
    ]


def _none_torn(grains: Grains) -> bool:
    return bool((grains.groups["splits"] <= 1).all())


def _failure(workspace: Workspace, check: Check, grains: Grains) -> Failure:
    culprits = find_culprits(check, grains)
    places = [place for culprit in culprits for place in culprit.places][: 2 * SHOWN]
    return Failure(check, culprits, tuple(_pictures(workspace, places)[:SHOWN]))


def _pictures(workspace: Workspace, places: Sequence[Place]) -> list[Picture]:
    found = ((place, read_thumbnail(workspace, place)) for place in places)
    return [
        Picture(pages.data_uri(jpeg, kind="image/jpeg"), place.video_id, place.remark) for place, jpeg in found if jpeg
    ]


def _methods(videos: pd.DataFrame) -> list[str]:
    """Return the methods at hand, originals first."""
    return sorted(videos["method"].unique(), key=lambda method: (method != ORIGINAL, method))


def _split_bars(grains: Grains) -> list[tuple[dict[str, Any], list[Share]]]:
    """Return for each split its counts and the pieces of its bar, one a method."""
    methods = _methods(grains.videos)
    faces = grains.videos.groupby(["split", "method"])["faces"].sum()
    longest = max(float(grains.splits["faces"].max()), 1.0)
    bars = []
    for row in grains.splits.to_dict("records"):
        pieces = [
            Share(f"c{place % 6 + 1}", method, int(count), 100 * count / longest)
            for place, method in enumerate(methods)
            if (count := float(faces.get((row["split"], method), 0)))
        ]
        bars.append(({str(name): value for name, value in row.items()}, pieces))
    return bars


def _shapes(checks: Sequence[Check], grains: Grains) -> list[tuple[Check, Markup]]:
    """Return a histogram for each checked column that has a distribution; bounds of a mean are none of its rows."""
    drawn = []
    for check in checks:
        frame = grains.of(check.grain)
        if check.grain not in _CHARTED or check.column not in frame:
            continue
        values = frame[check.column]
        if not pd.api.types.is_numeric_dtype(values) or values.nunique() < _FEWEST_VALUES:
            continue
        bounds = check.bounds if check.bounds_rows else {}
        low, high = bounds.get("min_value"), bounds.get("max_value")
        drawn.append((check, draw_histogram(values.to_numpy(), unit=check.unit, low=low, high=high)))
    return drawn


def _samples(workspace: Workspace, videos: pd.DataFrame) -> list[tuple[str, list[Picture]]]:
    """Return faces of up to eight different people a method, spread over the data."""
    rows = []
    for method in _methods(videos):
        some = videos[(videos["method"] == method) & (videos["faces"] > 0)].drop_duplicates(["dataset", "target"])
        some = some.iloc[:: max(1, len(some) // SHOWN)].head(SHOWN)
        remarks = some["split"].fillna("in no split")
        places = [Place(name, remark=remark) for name, remark in zip(some["video_id"], remarks, strict=True)]
        rows.append((method, _pictures(workspace, places)))
    return [(method, pictures) for method, pictures in rows if pictures]
