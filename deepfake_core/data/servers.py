"""Which of several servers to ask, and asking them for one file until it is there or surely is not."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from deepfake_core.data.fetch import NotOnServer, Patience, TransferBroken, fetch_once, part_of

FAILURES_UNTIL_LAST = 8
"""Failures in a row, over all threads, after which a server is asked only when no other is left."""
UNREACHABLE_COUNTS = 4
"""How many failures one refused or impossible connection is worth."""


class Servers:
    """Servers that hold the same files, in the order of preference; shared by threads.

    A server that fails again and again moves behind the others, and back when it works again.
    """

    def __init__(self, bases: Sequence[str]) -> None:
        self._failures = {base if base.endswith("/") else f"{base}/": 0 for base in bases}
        self._lock = threading.Lock()

    @property
    def bases(self) -> tuple[str, ...]:
        """All servers."""
        return tuple(self._failures)

    def best(self, *, but: set[str]) -> str | None:
        """Return the server to ask first, leaving some out; None where no other is left."""
        with self._lock:
            left = [base for base in self._failures if base not in but]
            return min(left, key=lambda base: self._failures[base] // FAILURES_UNTIL_LAST, default=None)

    def worked(self, base: str) -> None:
        """Remember that a server answered."""
        with self._lock:
            self._failures[base] = 0

    def failed(self, base: str, *, unreachable: bool) -> None:
        """Remember that a server did not answer, or broke off."""
        with self._lock:
            self._failures[base] += UNREACHABLE_COUNTS if unreachable else 1


@dataclass(frozen=True)
class Fetcher:
    """Fetches files from whichever server gives them.

    Attributes:
        client: connections, timeouts, redirects.
        servers: whom to ask.
        patience: how often.
    """

    client: httpx.Client
    servers: Servers
    patience: Patience

    def fetch(self, relative: str, path: Path, *, on_bytes: Callable[[int], None] = lambda _: None) -> None:
        """Fetch ``<server>/<relative>`` to ``path``.

        Raises:
            NotOnServer: no server that can be reached has it.
            TransferBroken: patience is at its end.
            DownloadError: it cannot be written.
        """
        refusals: dict[str, NotOnServer | TransferBroken] = {}
        self.patience.insist(lambda: self._try_servers(relative, path, refusals, on_bytes), part=part_of(path))

    def _try_servers(
        self,
        relative: str,
        path: Path,
        refusals: dict[str, NotOnServer | TransferBroken],
        on_bytes: Callable[[int], None],
    ) -> None:
        while (base := self.servers.best(but=set(refusals))) is not None:
            try:
                fetch_once(self.client, base + relative, path, stop=self.patience.stop, on_bytes=on_bytes)
            except NotOnServer as error:
                refusals[base] = error
                self.servers.worked(base)
            except TransferBroken as error:
                self.servers.failed(base, unreachable=error.unreachable)
                if not (error.unreachable and refusals):  # one server said no; that others are dead changes nothing
                    raise
                refusals[base] = error
            else:
                self.servers.worked(base)
                return
        message = "; ".join(f"{httpx.URL(base).host}: {error}" for base, error in refusals.items())
        raise NotOnServer(message)

    def length(self, relative: str) -> int | None:
        """Return the length of a file as the preferred server announces it, None where it does not."""
        base = self.servers.best(but=set())
        try:
            answer = self.client.head(f"{base}{relative}", headers={"Accept-Encoding": "identity"})
        except httpx.HTTPError:
            return None
        length = answer.headers.get("Content-Length", "") if answer.is_success else ""
        return int(length) if length.isdecimal() else None
