"""How long work tells how far it is, without knowing who listens.

A stage takes ``progress: Progress = SILENT`` and opens one bar a piece of work. The CLI passes bars drawn by Rich
(``console.py``), the flows pass Prefect progress artifacts, tests and libraries pass nothing.
"""

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Protocol, Self, TypeVar

T = TypeVar("T")


class Bar(Protocol):
    """One piece of work under way."""

    def advance(self, steps: float = 1.0) -> None:
        """Count ``steps`` more as done."""

    def say(self, text: str) -> None:
        """Show a short remark beside the bar, such as the current loss or rate."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Progress(Protocol):
    """Opens bars."""

    def bar(self, title: str, *, total: float | None, unit: str = "") -> Bar:
        """Open a bar of ``total`` steps (None: unknown) counted in ``unit``; use it as a context manager."""


class _SilentBar:
    def advance(self, steps: float = 1.0) -> None:
        """Say nothing."""

    def say(self, text: str) -> None:
        """Say nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None


class _Silence:
    def bar(self, title: str, *, total: float | None, unit: str = "") -> Bar:  # noqa: ARG002 - the protocol's names
        """Open a bar that nobody sees."""
        return _SilentBar()


SILENT: Progress = _Silence()


def track(items: Iterable[T], progress: Progress, title: str, *, total: float | None, unit: str = "") -> Iterator[T]:
    """Yield ``items``, one step of a bar each."""
    with progress.bar(title, total=total, unit=unit) as bar:
        for item in items:
            yield item
            bar.advance()
