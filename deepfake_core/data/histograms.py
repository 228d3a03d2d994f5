"""Histograms as inline SVG: crisp at any size, no script, nothing to load."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from markupsafe import Markup, escape

from deepfake_core.data.checks import write_number

WIDTH, HEIGHT = 480, 150
LEFT, RIGHT, TOP, BOTTOM = 4, 4, 20, 24
"""Margins for labels, in SVG units."""
BINS = 48
_SHORT_UNITS = ("share", "count", "px")
"""Written at every tick; longer ones only at the threshold."""
INSIDE, OUTSIDE, INK, SOFT, LINE = "#3056d3", "#b3261e", "#1d2433", "#5b6577", "#e3e7ee"


def draw_histogram(
    values: npt.NDArray[np.floating], *, unit: str, low: float | None = None, high: float | None = None
) -> Markup:
    """Draw the distribution of ``values`` with the bounds that they were held against.

    Args:
        values: shape (rows,); null values are left out. Values that span more than two decades are drawn on a
            logarithmic axis.
        unit: of the axis, as ``write_number`` takes it.
        low: lower bound; bars of values below it are red.
        high: upper bound; bars of values above it are red.

    Returns:
        An ``svg`` element, empty where there are no values.
    """
    values = values[np.isfinite(values)]
    if not values.size:
        return Markup()
    scale = _Scale.of(values, bounds=[bound for bound in (low, high) if bound is not None])
    outside = (values < (-math.inf if low is None else low)) | (values > (math.inf if high is None else high))
    counts, edges = np.histogram(scale.transform(values), bins=BINS, range=(scale.low, scale.high))
    wrong, _ = np.histogram(scale.transform(values[outside]), bins=edges)
    bars = [
        # Coloured by its values, not by its place: a value on the bound is inside, though most of its bar is not.
        _bar(scale, float(left), float(right), count / counts.max(), colour=OUTSIDE if 2 * red >= count else INSIDE)
        for left, right, count, red in zip(edges[:-1], edges[1:], counts, wrong, strict=True)
        if count
    ]
    ticks = [_tick(scale, tick, unit) for tick in scale.ticks()]
    bounds = [_bound(scale, bound, unit) for bound in (low, high) if bound is not None]
    base = f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{HEIGHT - BOTTOM}" y2="{HEIGHT - BOTTOM}" stroke="{LINE}"/>'
    return Markup(  # noqa: S704 - numbers, and labels that were escaped
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="11">{"".join([base, *bars, *ticks, *bounds])}</svg>'
    )


class _Scale:
    """From values to horizontal places, linear or logarithmic."""

    def __init__(self, low: float, high: float, *, log: bool) -> None:
        self.low, self.high, self.log = low, high, log

    @classmethod
    def of(cls, values: npt.NDArray[np.floating], *, bounds: Sequence[float]) -> "_Scale":
        """Span the values and the bounds, with a little room, so that a bound on the edge is seen."""
        low, high = min([float(values.min()), *bounds]), max([float(values.max()), *bounds])
        positive = values[values > 0]
        log = low > 0 and positive.size == values.size and high / low > 100
        if log:
            low, high = math.log10(low), math.log10(high)
        room = (high - low) * 0.04 or abs(high) * 0.1 or 1.0
        floor = low - room if log or low < 0 else max(0.0, low - room)
        return cls(floor, high + room, log=log)

    def transform(self, values: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        return np.log10(values) if self.log else values

    def place(self, transformed: float) -> float:
        share = (transformed - self.low) / (self.high - self.low)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def of_value(self, value: float) -> float:
        return math.log10(value) if self.log else value

    def ticks(self) -> list[float]:
        """Return four to six round values inside the span."""
        if self.log:
            powers = range(math.ceil(self.low), math.floor(self.high) + 1)
            return [10.0**power for power in powers[:: 1 + len(powers) // 7]]
        raw = (self.high - self.low) / 5
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw)
        return [step * place for place in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]


def _bar(scale: _Scale, left: float, right: float, share: float, *, colour: str) -> str:
    tall = max(1.5, share * (HEIGHT - TOP - BOTTOM))
    x, width = scale.place(left) + 0.5, max(1.0, scale.place(right) - scale.place(left) - 1)
    return (
        f'<rect x="{x:.1f}" y="{HEIGHT - BOTTOM - tall:.1f}" width="{width:.1f}" height="{tall:.1f}" fill="{colour}"/>'
    )


def _tick(scale: _Scale, value: float, unit: str) -> str:
    x = scale.place(scale.of_value(value))
    anchor = "start" if x < LEFT + 20 else "end" if x > WIDTH - RIGHT - 20 else "middle"
    text = escape(write_number(value, unit if unit in _SHORT_UNITS else "number"))
    return f'<text x="{x:.1f}" y="{HEIGHT - 8}" text-anchor="{anchor}" fill="{SOFT}">{text}</text>'


def _bound(scale: _Scale, value: float, unit: str) -> str:
    x = scale.place(scale.of_value(value))
    near_the_end = x > WIDTH * 0.7
    anchor, shift = ("end", -5) if near_the_end else ("start", 5)
    return (
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="4" y2="{HEIGHT - BOTTOM}" stroke="{INK}" stroke-dasharray="3 3"/>'
        f'<text x="{x + shift:.1f}" y="13" text-anchor="{anchor}" fill="{INK}" font-weight="600">'
        f"{escape(write_number(value, unit))}</text>"
    )
