"""Figures for reports and MLflow, in one palette: originals blue, manipulated orange.

Every function returns a Matplotlib ``Figure`` drawn through the object interface: no pyplot, no global state, no
display. ``save`` writes it as a PNG.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator
from sklearn.metrics import roc_curve

from deepfake_core import files

INK, SOFT, LINE = "#1d2433", "#5b6577", "#e3e7ee"
ORIGINAL, MANIPULATED = "#3056d3", "#e08a1e"
SERIES = (ORIGINAL, MANIPULATED, "#2a9d8f", "#b5446e", "#7a6ff0", "#6b7689")
DPI = 150
BELOW = {"loc": "upper left", "bbox_to_anchor": (-0.01, -0.16), "borderaxespad": 0.0, "columnspacing": 1.4}
"""Where a legend lies that would cover the data inside."""
CLASSES = ("original", "manipulated")

Arrays = tuple[npt.ArrayLike, npt.ArrayLike]


def save(figure: Figure, path: Path) -> Path:
    """Write ``figure`` as a PNG, atomically; equal figures give equal bytes. Returns ``path``."""
    files.write_bytes(path, to_png(figure))
    return path


def to_png(figure: Figure) -> bytes:
    """Return ``figure`` as the bytes of a PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def draw_roc(curves: Mapping[str, Arrays]) -> Figure:
    """Draw ROC curves.

    Args:
        curves: legend → (labels, scores), both classes present; such as ``{"videos, AUC 0.98": …, "frames, …": …}``.
    """
    figure, axes = _new(4.6, 4.4, title="ROC on the test split", x="False alarm rate", y="Hit rate")
    axes.plot([0, 1], [0, 1], color=SOFT, linewidth=0.8, linestyle=(0, (4, 4)))
    for colour, (name, (labels, scores)) in zip(SERIES, curves.items(), strict=False):
        false_alarms, hits, _ = roc_curve(labels, scores)
        axes.plot(false_alarms, hits, color=colour, linewidth=2.0, label=name, solid_joinstyle="round")
    axes.set(xlim=(-0.015, 1.015), ylim=(-0.015, 1.015), aspect="equal")
    _legend(axes, loc="lower right")
    return figure


def draw_confusion(counts: npt.NDArray[np.int64], *, title: str = "Verdicts on test videos") -> Figure:
    """Draw a confusion matrix.

    Args:
        counts: shape (2, 2): true class by row, verdict by column, original first.
        title: of the figure.
    """
    figure, axes = _new(4.6, 4.2, title=title, x="Verdict", y="Truth", grid=False)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap=_blues(), vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if shares[row, column] > 0.55 else INK
        axes.text(column, row - 0.06, f"{count:,}", ha="center", va="center", color=colour, fontsize=17, weight="bold")
        share = f"{shares[row, column]:.1%}"
        axes.text(column, row + 0.19, share, ha="center", va="center", color=colour, fontsize=9)
    axes.set_xticks([0, 1], CLASSES)
    axes.set_yticks([0, 1], CLASSES, rotation=90, va="center")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def draw_history(history: Sequence[Mapping[str, Any]], *, best_epoch: int) -> Figure:
    """Draw loss and validation AUC by epoch.

    Args:
        history: one mapping an epoch with ``epoch``, ``loss``, ``val_loss`` and, where measured, ``val_auc``.
        best_epoch: the epoch that was kept.
    """
    figure = _figure(8.2, 3.7)
    left, right = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in history]
    _style(left, title="Loss", x="Epoch", y="Binary cross-entropy")
    _style(right, title="AUC on validation", x="Epoch", y="AUC")
    marker = "o" if len(history) <= 30 else None
    for key, name, colour in (("loss", "training", SERIES[2]), ("val_loss", "validation", ORIGINAL)):
        values = [row.get(key, np.nan) for row in history]
        left.plot(epochs, values, color=colour, linewidth=2, marker=marker, markersize=4, label=name)
    aucs = [np.nan if row.get("val_auc") is None else row["val_auc"] for row in history]
    right.plot(epochs, aucs, color=ORIGINAL, linewidth=2, marker=marker, markersize=4)
    for axes in (left, right):
        axes.axvline(best_epoch, color=MANIPULATED, linewidth=1.2, linestyle=(0, (4, 3)), label="epoch kept")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
        axes.margins(x=0.05)
        _legend(axes, loc="best")
    return figure


def draw_histogram(labels: npt.ArrayLike, scores: npt.ArrayLike, *, threshold: float) -> Figure:
    """Draw how the scores of each class are distributed, and where the threshold lies."""
    figure, axes = _new(5.4, 3.9, title="Scores of test videos", x="Score (probability of manipulated)", y="Videos")
    y, s = np.asarray(labels), np.asarray(scores)
    bins = np.linspace(0, 1, 26)
    for label, (name, colour) in enumerate(zip(CLASSES, (ORIGINAL, MANIPULATED), strict=True)):
        axes.hist(s[y == label], bins=bins, color=colour, alpha=0.7, label=name, edgecolor="white", linewidth=0.6)
    axes.axvline(threshold, color=INK, linewidth=1.2, linestyle=(0, (4, 3)), label=f"threshold {threshold:.3f}")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    axes.set_xlim(-0.01, 1.01)
    _legend(axes, **BELOW, ncols=3)
    return figure


def draw_calibration(
    mean: npt.ArrayLike, share: npt.ArrayLike, counts: npt.ArrayLike, *, error: float | None = None
) -> Figure:
    """Draw how often videos of a score are manipulated.

    Args:
        mean: mean score of each bin.
        share: share of manipulated in it.
        counts: videos in it, drawn as the size of the mark.
        error: expected calibration error, said in the title.
    """
    said = "" if error is None else f" (error {error:.3f})"
    figure, axes = _new(4.6, 4.4, title=f"Calibration{said}", x="Mean score", y="Share of manipulated")
    axes.plot([0, 1], [0, 1], color=SOFT, linewidth=0.8, linestyle=(0, (4, 4)), label="perfect")
    sizes = 22 + 260 * np.sqrt(np.asarray(counts) / np.sum(counts))
    axes.plot(mean, share, color=ORIGINAL, linewidth=1.2, alpha=0.5)
    axes.scatter(mean, share, s=sizes, color=ORIGINAL, alpha=0.85, linewidths=0, label="videos by score", zorder=3)
    axes.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04), aspect="equal")
    legend = _legend(axes, **BELOW, ncols=2)
    legend.legend_handles[-1].set_sizes([36])
    return figure


def draw_breakdown(values: Mapping[str, Mapping[str, float | None]], *, title: str, y: str = "AUC") -> Figure:
    """Draw bars by method, one colour a compression.

    Args:
        values: method → compression → value in 0..1; null leaves a gap.
        title: of the figure.
        y: name of the value.
    """
    series = sorted({name for row in values.values() for name in row})
    figure, axes = _new(max(5.4, 1.5 + 1.25 * len(values)), 3.9, title=title, x="", y=y)
    width = 0.76 / max(len(series), 1)
    for index, (colour, name) in enumerate(zip(SERIES[0:1] + SERIES[2:], series, strict=False)):
        place = np.arange(len(values)) + (index - (len(series) - 1) / 2) * width
        heights = np.array([row.get(name) for row in values.values()], dtype=np.float64)  # null becomes NaN
        axes.bar(place, heights, width=width * 0.92, color=colour, label=name)
        for x, height in zip(place, heights, strict=True):
            if np.isfinite(height):
                axes.text(x, height + 0.012, f"{height:.2f}", ha="center", va="bottom", fontsize=8, color=SOFT)
    axes.set_xticks(np.arange(len(values)), list(values))
    axes.tick_params(axis="x", length=0)
    axes.grid(visible=False, axis="x")
    axes.set(ylim=(0, 1.07), yticks=np.linspace(0, 1, 6))
    _legend(axes, **BELOW, ncols=max(len(series), 1))
    return figure


def draw_comparison(
    rows: Sequence[tuple[str, float, float, float]],
    *,
    title: str,
    x: str,
    limit: float | None = None,
    highest: float | None = None,
) -> Figure:
    """Draw values with their intervals, one a line.

    Args:
        rows: (name, value, low, high).
        title: of the figure.
        x: name of the value.
        limit: a bound that the interval is held against.
        highest: largest value there can be; the axis ends a little behind it.
    """
    figure, axes = _new(6.6, 1.5 + 0.5 * len(rows), title=title, x=x, y="")
    for index, (_, value, low, high) in enumerate(rows):
        colour = SERIES[index % len(SERIES)]
        place = len(rows) - 1 - index
        axes.plot([low, high], [place, place], color=colour, linewidth=3, solid_capstyle="round", alpha=0.45)
        axes.plot([value], [place], color=colour, marker="o", markersize=8)
        label = f"{value:.3f}"
        axes.annotate(label, (value, place), (0, 9), textcoords="offset points", ha="center", fontsize=8.5, color=INK)
    if limit is not None:
        axes.axvline(limit, color="#b3261e", linewidth=1.2, linestyle=(0, (4, 3)), label=f"bound {limit:g}")
        _legend(axes, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    axes.set_yticks(range(len(rows)), [name for name, *_ in reversed(rows)], color=INK, fontsize=9.5)
    axes.set_ylim(-0.6, len(rows) - 0.25)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0.12)
    left, right = axes.get_xlim()
    if highest is not None and right > highest:
        axes.set_xlim(left, highest + 0.04 * (highest - left))
    return figure


def face_grid(
    faces: Sequence[npt.NDArray[np.uint8]], captions: Sequence[str], *, columns: int = 4, title: str = ""
) -> Figure:
    """Draw faces with their captions, row by row.

    Args:
        faces: RGB, each (height, width, 3).
        captions: one a face; a first word ``original`` or ``manipulated`` gives the frame its colour.
        columns: faces a row.
        title: of the figure.
    """
    if len(faces) != len(captions):
        message = f"every face needs a caption. Received: {len(faces)} faces, {len(captions)} captions"
        raise ValueError(message)
    rows = max(-(-len(faces) // columns), 1)
    figure = _figure(1.85 * columns, 2.15 * rows + (0.5 if title else 0.1))
    cells = figure.subplots(rows, columns, squeeze=False).ravel()
    if title:
        figure.suptitle(title, x=0.02, ha="left", fontsize=12, weight="bold", color=INK)
    for axes in cells:
        axes.set_axis_off()
    colours = dict(zip(CLASSES, (ORIGINAL, MANIPULATED), strict=True))
    for axes, face, caption in zip(cells, faces, captions, strict=False):
        axes.set_axis_on()
        axes.imshow(face, interpolation="antialiased")
        axes.set(xticks=[], yticks=[])
        colour = colours.get(caption.split(maxsplit=1)[0].strip(",:") if caption else "", LINE)
        axes.spines[:].set(visible=True, color=colour, linewidth=2.2)
        axes.set_xlabel(caption, fontsize=8, color=INK, labelpad=4)
    return figure


# One look -----------------------------------------------------------------------------------------------------------


def _figure(width: float, height: float) -> Figure:
    margins = ConstrainedLayoutEngine(w_pad=0.14, h_pad=0.14)
    figure = Figure(figsize=(width, height), layout=margins, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _new(width: float, height: float, *, title: str, x: str, y: str, grid: bool = True) -> tuple[Figure, Any]:
    figure = _figure(width, height)
    axes = figure.subplots()
    _style(axes, title=title, x=x, y=y, grid=grid)
    return figure, axes


def _style(axes: Axes, *, title: str, x: str, y: str, grid: bool = True) -> None:
    axes.set_title(title, loc="left", fontsize=11.5, weight="bold", color=INK, pad=10)
    axes.set_xlabel(x, fontsize=9.5, color=SOFT)
    axes.set_ylabel(y, fontsize=9.5, color=SOFT)
    axes.tick_params(colors=SOFT, labelsize=9, length=3, width=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#c4cbd6")
    axes.set_axisbelow(True)
    if grid:
        axes.grid(visible=True, color=LINE, linewidth=0.8)


def _legend(axes: Axes, **where: Any) -> Any:
    return axes.legend(frameon=False, fontsize=9, labelcolor=INK, handlelength=1.6, **where)


def _blues() -> Any:
    return LinearSegmentedColormap.from_list("blues", ["#f1f4fc", ORIGINAL])
