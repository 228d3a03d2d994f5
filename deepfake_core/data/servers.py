"""Which of several servers to ask, and asking them for one file until it is there or surely is not."""

import socket
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import httpx

from deepfake_core.data.fetch import NotOnServer, Patience, TransferBroken, fetch_once, part_of, size_of

FAILURES_UNTIL_LAST = 8
"""Failures in a row, over all threads, after which a server is asked only when no other is left."""
UNREACHABLE_COUNTS = 4
"""How many failures one refused or impossible connection is worth."""
TRIES_IN_A_ROW = 3
"""Fruitless tries for one file, at most, until another server is asked for it."""
HEAD_SECONDS = 5.0
"""How long to wait at most for a length, which is nice to know and no more."""


class Servers:
    """Servers that hold the same files, in the order of preference; shared by threads.

    A server that fails again and again moves behind the others, and back when it works again. One that fails only for
    a single file moves behind them for that file.
    """

    def __init__(self, bases: Sequence[str]) -> None:
        self._failures = {base if base.endswith("/") else f"{base}/": 0 for base in bases}
        self._lock = threading.Lock()

    @property
    def bases(self) -> tuple[str, ...]:
        """All servers."""
        return tuple(self._failures)

    def best(self, *, but: set[str], turns: Mapping[str, int] = MappingProxyType({})) -> str | None:
        """Return the server to ask first; None where no other is left.

        Args:
            but: servers to leave out.
            turns: how often each server had its turn for this file, and did not give it.
        """
        with self._lock:
            left = [base for base in self._failures if base not in but]
            return min(
                left, key=lambda base: (turns.get(base, 0), self._failures[base] // FAILURES_UNTIL_LAST), default=None
            )

    def silent(self) -> set[str]:
        """Return the servers that failed so often, and never worked since, that they are asked last."""
        with self._lock:
            return {base for base, failures in self._failures.items() if failures >= FAILURES_UNTIL_LAST}

    def worked(self, base: str) -> None:
        """Remember that a server answered."""
        with self._lock:
            self._failures[base] = 0

    def failed(self, base: str, *, unreachable: bool) -> None:
        """Remember that a server did not answer, or broke off."""
        with self._lock:
            self._failures[base] += UNREACHABLE_COUNTS if unreachable else 1


class _Lines:
    """The connections of a client, so that they can be cut from another thread.

    Closing the client does not wake a thread that waits for a silent server; shutting its socket down does.
    """

    def __init__(self, client: httpx.Client) -> None:
        self._streams: weakref.WeakSet[Any] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._cut = False
        client.event_hooks["request"].append(lambda request: request.extensions.update(trace=self._notice))

    def _notice(self, event: str, info: Mapping[str, Any]) -> None:
        if event in {"connection.connect_tcp.complete", "connection.start_tls.complete"}:
            with self._lock:
                self._streams.add(info["return_value"])
                cut = self._cut
            if cut:  # it came about while the others were being cut
                _shut_down(info["return_value"])

    def cut(self) -> None:
        """End every connection, and those that are still coming about."""
        with self._lock:
            self._cut = True
            streams = list(self._streams)
        for stream in streams:
            _shut_down(stream)


def _shut_down(stream: Any) -> None:
    with suppress(OSError):  # it is closed already
        stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)


@dataclass
class _Tries:
    """What came of asking for one file.

    Attributes:
        fruitless: server → its tries that brought nothing, since it last brought something.
        giver: the server that gave the whole file.
    """

    fruitless: Counter[str] = field(default_factory=Counter)
    giver: str | None = None


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
    _tries: dict[str, _Tries] = field(default_factory=dict, init=False)
    _slow: set[str] = field(default_factory=set, init=False)
    _lines: _Lines = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_lines", _Lines(self.client))

    def hang_up(self) -> None:
        """End at once what is under way in all threads; nothing can be fetched any more."""
        self.patience.stop.set()
        self._lines.cut()
        self.client.close()

    def fetch(self, relative: str, path: Path, *, on_bytes: Callable[[int], None] = lambda _: None) -> None:
        """Fetch ``<server>/<relative>`` to ``path``.

        Raises:
            NotOnServer: no server that can be reached has it.
            TransferBroken: patience is at its end.
            DownloadError: it cannot be written.
        """
        refusals: dict[str, NotOnServer | TransferBroken] = {}

        def arrived(count: int) -> None:
            self.patience.arrival = time.monotonic()
            on_bytes(count)

        self.patience.insist(lambda: self._try_servers(relative, path, refusals, arrived), part=part_of(path))

    def asked(self, relative: str) -> tuple[str, ...]:
        """Return the servers that were asked for a file."""
        return tuple(self._tries_for(relative).fruitless)

    def doubt(self, relative: str) -> None:
        """Prefer another server for a file that arrived damaged."""
        tries = self._tries_for(relative)
        if tries.giver is not None:
            tries.fruitless[tries.giver] += self._tries_in_a_row

    def _tries_for(self, relative: str) -> _Tries:
        return self._tries.setdefault(relative, _Tries())

    @property
    def _tries_in_a_row(self) -> int:
        """So few that every server has its turn before patience is at its end."""
        return max(1, min(TRIES_IN_A_ROW, self.patience.attempts // len(self.servers.bases)))

    def _try_servers(
        self,
        relative: str,
        path: Path,
        refusals: dict[str, NotOnServer | TransferBroken],
        on_bytes: Callable[[int], None],
    ) -> None:
        tries = self._tries_for(relative)
        while (base := self._next(tries, refused=set(refusals))) is not None:
            tries.fruitless[base] += 0  # asked, at least
            before = size_of(part_of(path))
            try:
                fetch_once(self.client, base + relative, path, stop=self.patience.stop, on_bytes=on_bytes)
            except NotOnServer as error:
                refusals[base] = error
                self.servers.worked(base)
            except TransferBroken as error:
                self.servers.failed(base, unreachable=error.unreachable)
                grew = size_of(part_of(path)) > before
                worth = self._tries_in_a_row if error.unreachable else 1
                tries.fruitless[base] = 0 if grew else tries.fruitless[base] + worth
                if not (error.unreachable and refusals):  # one server said no; that others are dead changes nothing
                    raise
                refusals[base] = error
            else:
                self.servers.worked(base)
                tries.fruitless[base], tries.giver = 0, base
                return
        raise NotOnServer(self._why_not(refusals))

    def _next(self, tries: _Tries, *, refused: set[str]) -> str | None:
        # Once one server said no, hearing nothing from those that are dead is not worth a timeout for every file.
        but = refused | self.servers.silent() if refused else refused
        turns = {base: count // self._tries_in_a_row for base, count in tries.fruitless.items()}
        return self.servers.best(but=but, turns=turns)

    def _why_not(self, refusals: Mapping[str, NotOnServer | TransferBroken]) -> str:
        said = {base: str(error) for base, error in refusals.items()}
        unasked = {base: "not asked, it does not answer" for base in self.servers.bases if base not in refusals}
        return "; ".join(f"{urlsplit(base).hostname}: {why}" for base, why in {**said, **unasked}.items())

    def length(self, relative: str) -> int | None:
        """Return the length of a file as a server announces it, None where none does.

        A server that lets one such question wait is asked no other: they are asked one after the other.
        """
        while (base := self.servers.best(but=self._slow)) is not None:
            try:
                answer = self.client.head(
                    f"{base}{relative}", headers={"Accept-Encoding": "identity"}, timeout=self._head_timeout
                )
            except (httpx.TimeoutException, httpx.ConnectError):
                self._slow.add(base)
                continue
            except httpx.HTTPError:
                return None
            length = answer.headers.get("Content-Length", "") if answer.is_success else ""
            return int(length) if length.isdecimal() else None
        return None

    @property
    def _head_timeout(self) -> float:
        return min(HEAD_SECONDS, self.client.timeout.read or HEAD_SECONDS)
