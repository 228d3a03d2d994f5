"""Progress of a stage as a Prefect artifact, so that the UI shows how far a task is."""

import time
from types import TracebackType
from typing import Self
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from deepfake_core.progress import Bar

UPDATE_SECONDS = 2.0
"""An update costs the server about 14 ms: often enough to watch, seldom enough not to matter."""


class _ArtifactBar:
    def __init__(self, title: str, total: float | None) -> None:
        self._total, self._done, self._spoke = total, 0.0, time.monotonic()
        created = create_progress_artifact(progress=0.0, description=title)
        self._artifact = created if isinstance(created, UUID) else None

    def advance(self, steps: float = 1.0) -> None:
        self._done += steps
        if time.monotonic() - self._spoke >= UPDATE_SECONDS:
            self._update()

    def say(self, text: str) -> None:
        """The artifact has no room for remarks."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._done = self._total or self._done
        self._update()

    def _update(self) -> None:
        self._spoke = time.monotonic()
        if self._artifact is not None and self._total:
            update_progress_artifact(self._artifact, progress=min(100.0, 100.0 * self._done / self._total))


class ArtifactProgress:
    """Opens a Prefect progress artifact a bar; use it inside a task."""

    def bar(self, title: str, *, total: float | None, unit: str = "") -> Bar:  # noqa: ARG002 - the protocol's names
        """Open an artifact called ``title``."""
        return _ArtifactBar(title, total)
