"""What people at a terminal see: progress on stderr, tables on stdout, errors that stand out.

Without a terminal (CI, a log file) a bar is a line every few seconds instead of control characters.
"""

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress
from rich.table import Table
from rich.text import Text

from deepfake_core.progress import Bar, Progress
from deepfake_core.receipts import StageState
from deepfake_core.report import Cell, StageReport

LOG_EVERY_SECONDS = 10.0
LEAST_FOLDED = 16
"""Characters that a folded column must keep for its text to be read."""
_STYLE = {
    "done": "green",
    "found": "cyan",
    "refused": "red",
    "stale": "yellow",
    "partial": "yellow",
    "missing": "dim",
}

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


class _RichBar:
    def __init__(self, bars: RichProgress, task: TaskID) -> None:
        self._bars, self._task = bars, task

    def advance(self, steps: float = 1.0) -> None:
        self._bars.advance(self._task, steps)

    def say(self, text: str) -> None:
        self._bars.update(self._task, remark=escape(text))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.remove_task(self._task)


class _LoggedBar:
    """A bar for logs: a line when it opens late, and then one every ``LOG_EVERY_SECONDS``."""

    def __init__(self, title: str, total: float | None, unit: str) -> None:
        self._title, self._total, self._unit = title, total, unit
        self._done, self._remark = 0.0, ""
        self._spoke = time.monotonic()

    def advance(self, steps: float = 1.0) -> None:
        self._done += steps
        self._speak()

    def say(self, text: str) -> None:
        self._remark = f"({text})" if text else ""
        self._speak()  # one step may take hours, such as a large file

    def _speak(self) -> None:
        if time.monotonic() - self._spoke >= LOG_EVERY_SECONDS:
            self._spoke = time.monotonic()
            of = f"/{self._total:,.0f}" if self._total is not None else ""
            err.print(escape(f"{self._title}: {self._done:,.0f}{of} {self._unit} {self._remark}".rstrip()))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class _TerminalProgress:
    def __init__(self, bars: RichProgress) -> None:
        self._bars = bars

    def bar(self, title: str, *, total: float | None, unit: str = "") -> Bar:
        return _RichBar(self._bars, self._bars.add_task(escape(title), total=total, unit=unit, remark=""))


class _LoggedProgress:
    def bar(self, title: str, *, total: float | None, unit: str = "") -> Bar:
        return _LoggedBar(title, total, unit)


@contextmanager
def progress_bars() -> Iterator[Progress]:
    """Yield progress for people: bars on a terminal, lines in a log."""
    if not err.is_terminal:
        yield _LoggedProgress()
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=32),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("[dim]{task.fields[remark]}"),
    )
    with RichProgress(*columns, console=err, transient=True) as bars:
        yield _TerminalProgress(bars)


def show_stage_line(report: StageReport) -> None:
    """Print one line on stderr about a stage that just ended, and its notes."""
    counts = ", ".join(f"{value:,} {name.replace('_', ' ')}" for name, value in report.counts.items())
    took = f"{report.seconds:6.1f} s" if report.outcome == "done" else "        "
    style = _STYLE[report.outcome]
    err.print(f"[{style}]{report.outcome:>6}[/]  {report.stage:<9} {took}  {escape(counts)}", soft_wrap=True)
    for note in report.notes:
        err.print(f"[dim]        {escape(note)}[/]", soft_wrap=True)


def show_report(report: StageReport) -> None:
    """Print the report of one stage on stdout: its table, its metrics and where to look."""
    if report.table:
        out.print(_table_of(report.table))
    if report.metrics:
        out.print(_metrics_table(report.metrics))
    _show_outputs(report.outputs)


def show_summary(
    reports: Iterable[StageReport], *, title: str, seconds: float, next_steps: Iterable[tuple[str, str]]
) -> None:
    """Print what a whole run did: a row a stage, the test metrics, the time, and where to look next."""
    reports = list(reports)
    stages = Table(title=title, title_justify="left", title_style="bold")
    stages.add_column("stage")
    stages.add_column("outcome")
    stages.add_column("seconds", justify="right")
    stages.add_column("what", overflow="fold")
    for report in reports:
        counts = ", ".join(f"{value:,} {name.replace('_', ' ')}" for name, value in report.counts.items())
        took = f"{report.seconds:.1f}" if report.outcome == "done" else "–"
        stages.add_row(report.stage, Text(report.outcome, _STYLE[report.outcome]), took, counts)
    tested = next((report for report in reports if report.stage == "evaluate"), None)
    metrics = tested.metrics if tested else {}
    parts = [stages, *([_metrics_table(metrics)] if metrics else [])]
    out.print(Group(*parts))
    for what, where in next_steps:
        out.print(f"[dim]{escape(what):<17}[/]{escape(where)}", soft_wrap=True)
    out.print(f"[bold]{len(reports)} stages in {seconds:.1f} s[/]")


def show_states(states: Iterable[StageState]) -> None:
    """Print how each stage stands."""
    table = Table()
    for column in ("stage", "state", "finished", "what"):
        table.add_column(column, overflow="fold")
    for state in states:
        counts = state.receipt.report.counts if state.receipt else {}
        what = state.why or ", ".join(f"{value:,} {name.replace('_', ' ')}" for name, value in counts.items())
        finished = state.receipt.finished.replace("T", " ")[:19] if state.receipt else ""
        table.add_row(state.stage, Text(state.state, _STYLE[state.state]), finished, what)
    out.print(table)


def show_rows(rows: Iterable[dict[str, Cell]]) -> None:
    """Print rows with equal keys as a table."""
    rows = tuple(rows)
    if rows:
        out.print(_table_of(rows))


def show_error(message: str) -> None:
    """Print an error on stderr."""
    err.print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True)


def write_stdout(text: str) -> None:
    """Write ``text`` to stdout as it is, for machines."""
    sys.stdout.write(text + "\n")


def _show_outputs(outputs: dict[str, str]) -> None:
    for label, path in outputs.items():
        out.print(f"[dim]{escape(label)}[/]  {escape(path)}", soft_wrap=True)


def _metrics_table(metrics: dict[str, float]) -> Table:
    """Return metrics as a table: those of frames and of videos side by side, the others below each other."""
    pairs = {
        name.replace("_video_", " ").replace("_", " "): (metrics.get(name.replace("_video_", "_frame_")), value)
        for name, value in metrics.items()
        if "_video_" in name
    }
    if pairs:
        rows = [{"metric": name, "frames": frames, "videos": videos} for name, (frames, videos) in pairs.items()]
        return _table_of(tuple(rows))
    table = Table(show_header=False)
    for name, value in metrics.items():
        table.add_row(name.replace("_", " "), f"{value:.4g}")
    return table


def _table_of(rows: tuple[dict[str, Cell], ...]) -> Table:
    """Return rows as a table; where it is too wide, its heads break between words and its widest column is folded.

    Where even that is too wide, every row is a block of its own.
    """
    cells = [[_cell(value) for value in row.values()] for row in rows]
    heads = [name.replace("_", " ") for name in rows[0]]
    room = out.width - 3 * len(heads) - 1  # without lines and padding
    widths = _widest(heads, cells)
    if sum(widths) > room:
        widths = _widest([max(head.split(), key=len) for head in heads], cells)
    if sum(widths) > room:
        place = widths.index(max(widths))
        widths[place] -= sum(widths) - room
        if widths[place] < LEAST_FOLDED:
            return _blocks_of(heads, cells)
    table = Table()
    for head, width, value in zip(heads, widths, rows[0].values(), strict=True):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        table.add_column(head, justify="right" if number else "left", overflow="fold", width=width)
    for row in cells:
        table.add_row(*row)
    return table


def _widest(heads: list[str], cells: list[list[str]]) -> list[int]:
    return [max(len(text) for text in column) for column in zip(heads, *cells, strict=True)]


def _blocks_of(heads: list[str], cells: list[list[str]]) -> Table:
    table = Table(show_header=False)
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for row in cells:
        for head, text in zip(heads, row, strict=True):
            table.add_row(head, text)
        table.add_section()
    return table


def _cell(value: Cell) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return escape(str(value))
