"""One robust HTTP transfer: from a URL to a whole file, over a connection that breaks.

Bytes go to ``.<name>.part`` beside the file and are kept between tries and between runs; only a transfer of the
announced length gets the file's name. A broken transfer goes on where it stopped (HTTP Range, guarded by If-Range
and the announced length, so that bytes of two versions are never mixed); a server that ignores Range starts it over.
"""

import errno
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

import httpx

from deepfake_core import files
from deepfake_core.errors import DownloadError

LONGEST_WAIT_SECONDS = 60.0
_GONE = (404, 410)
_PASSING = (408, 425, 429)  # and all of 5xx


class NotOnServer(DownloadError):
    """The server answers, and does not give this file."""


class TransferBroken(DownloadError):
    """The transfer broke; it may work when tried again.

    Attributes:
        wait_seconds: how long the server asks to wait, 0 where it does not say.
        unreachable: no connection came about at all.
        hung_up: the server closed the connection without a word, as it does when it has too many.
    """

    def __init__(
        self, message: str, *, wait_seconds: float = 0.0, unreachable: bool = False, hung_up: bool = False
    ) -> None:
        super().__init__(message)
        self.wait_seconds = wait_seconds
        self.unreachable = unreachable
        self.hung_up = hung_up


class Stopped(DownloadError):
    """The run is being ended; nothing is wrong with the file."""


@dataclass
class Patience:
    """How often and how long to try again.

    A loop of our own: tries that bring new bytes do not count, nor those that are turned away while other files come,
    the server may ask for a pause, and a run that is ended must not wait. A library's hooks for these are longer than
    the loop.

    Attributes:
        attempts: tries in a row that bring no new byte before giving up.
        first_wait_seconds: pause after the first of them; every further one doubles it.
        stop: set from outside to end the waiting.
        arrival: when bytes last came, of any file; in seconds of ``time.monotonic``.
    """

    attempts: int
    first_wait_seconds: float
    stop: Event = field(default_factory=Event)
    arrival: float = float("-inf")

    def insist(self, work: Callable[[], None], *, part: Path) -> None:
        """Do ``work`` until it raises no ``TransferBroken`` any more, or patience is at its end.

        Args:
            work: tries once.
            part: grows when a try brings new bytes.
        """
        pauses, fruitless, furthest, since = 0, 0, size_of(part), time.monotonic()
        while True:
            try:
                work()
            except TransferBroken as error:
                grew = size_of(part) > furthest
                crowded_out = error.hung_up and self.arrival > since
                pauses = 0 if grew else pauses + 1
                fruitless = 0 if grew or crowded_out else fruitless + 1
                furthest, since = max(furthest, size_of(part)), time.monotonic()
                if fruitless >= self.attempts:
                    raise
                self._sleep(max(self._pause(pauses), error.wait_seconds))
            else:
                return

    def _pause(self, number: int) -> float:
        longest = min(self.first_wait_seconds * 2.0 ** min(max(number - 1, 0), 30), LONGEST_WAIT_SECONDS)
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - four connections must not knock in step

    def _sleep(self, seconds: float) -> None:
        if self.stop.wait(min(seconds, LONGEST_WAIT_SECONDS)):
            raise Stopped


def part_of(path: Path) -> Path:
    """Return where the bytes of an unfinished transfer to ``path`` are kept."""
    return path.with_name(f".{path.name}.part")


def size_of(part: Path) -> int:
    """Return how many bytes a file has; 0 where there is none."""
    try:
        return part.stat().st_size
    except FileNotFoundError:
        return 0


def fetch_once(
    client: httpx.Client,
    url: str,
    path: Path,
    *,
    stop: Event,
    on_bytes: Callable[[int], None] = lambda _: None,
) -> None:
    """Try once to fetch ``url`` to ``path``, going on from what an earlier try left.

    Args:
        client: follows redirects and has the timeouts.
        url: of the file.
        path: appears only when every byte is there.
        stop: ends the transfer when set.
        on_bytes: told the size of every chunk that arrives.

    Raises:
        NotOnServer: the server has no such file, or does not give it to us.
        TransferBroken: anything that may go better next time.
        DownloadError: the disk is full or cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part, note = part_of(path), _Note.beside(path)
    done = size_of(part)
    headers = {"Accept-Encoding": "identity"}
    if done:
        headers |= {"Range": f"bytes={done}-"} | ({"If-Range": note.validator} if note.validator else {})
    with _explained(url), _answer(client, url, headers) as answer:
        if answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE and done == _announced(answer):
            pass  # the part is the whole file already
        else:
            start = _accept(answer, note, done, part)
            note = _Note(_validator(answer), _announced(answer))
            note.write(path)
            _receive(answer, part, start=start, stop=stop, on_bytes=on_bytes)
    _refuse_wrong_length(part, note.total, url)
    part.replace(path)
    note.forget(path)


@contextmanager
def _answer(client: httpx.Client, url: str, headers: dict[str, str]) -> Iterator[httpx.Response]:
    try:
        answer = client.send(client.build_request("GET", url, headers=headers), stream=True)
    except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError) as error:
        message = f"the server hung up without an answer: {url}"
        raise TransferBroken(message, hung_up=True) from error
    try:
        yield answer
    finally:
        answer.close()


def _accept(answer: httpx.Response, note: "_Note", done: int, part: Path) -> int:
    """Return at which byte the answer begins; raise where it is not the file, or not the file we have begun."""
    status = answer.status_code
    if status == httpx.codes.OK:
        return 0
    if status == httpx.codes.PARTIAL_CONTENT:
        start, total = _range_start(answer), _announced(answer)
        if start == done and (note.total is None or total == note.total):
            return done
        part.unlink(missing_ok=True)
        message = f"the server went on at byte {start} of {total} instead of {done} of {note.total}"
        raise TransferBroken(message)
    if status == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
        part.unlink(missing_ok=True)
        message = "the file on the server became shorter"
        raise TransferBroken(message)
    said = f"{status} {answer.reason_phrase}".strip()
    if status in _PASSING or status >= httpx.codes.INTERNAL_SERVER_ERROR:
        message = f"the server says {said}"
        raise TransferBroken(message, wait_seconds=_retry_after(answer))
    message = f"the server has no such file ({said})" if status in _GONE else f"the server says {said}"
    raise NotOnServer(message)


def _receive(answer: httpx.Response, part: Path, *, start: int, stop: Event, on_bytes: Callable[[int], None]) -> None:
    with part.open("r+b" if part.exists() else "wb") as stream:
        stream.truncate(start)
        stream.seek(start)
        for chunk in answer.iter_raw():  # as they come: a broken connection must lose none
            if stop.is_set():
                raise Stopped
            stream.write(chunk)
            on_bytes(len(chunk))
        stream.flush()
        os.fsync(stream.fileno())


def _refuse_wrong_length(part: Path, total: int | None, url: str) -> None:
    size = size_of(part)
    if total is None or size == total:
        return
    if size > total:
        part.unlink(missing_ok=True)
    message = f"{size:,} of {total:,} bytes came from {url}"
    raise TransferBroken(message)


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """Turn what can go wrong below HTTP into our own errors."""
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        message = f"no connection to {httpx.URL(url).host}: {error}"
        raise TransferBroken(message, unreachable=True) from error
    except httpx.ReadTimeout as error:
        message = f"the server fell silent: {url}"
        raise TransferBroken(message) from error
    except (httpx.UnsupportedProtocol, httpx.TooManyRedirects, httpx.InvalidURL) as error:
        message = f"{url} leads nowhere: {error}"
        raise NotOnServer(message) from error
    except httpx.TransportError as error:
        message = f"the transfer of {url} broke off: {error}"
        raise TransferBroken(message) from error
    except OSError as error:
        why = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
        message = f"cannot write {error.filename or 'the download'}: {why}."
        raise DownloadError(message) from error


@dataclass(frozen=True)
class _Note:
    """What the server said about a file whose transfer is under way."""

    validator: str | None = None
    total: int | None = None

    @staticmethod
    def _path(path: Path) -> Path:
        return path.with_name(f".{path.name}.part.json")

    @classmethod
    def beside(cls, path: Path) -> "_Note":
        try:
            values = files.read_json(cls._path(path))
            return cls(values["validator"], values["total"])
        except (OSError, ValueError, KeyError, TypeError):
            return cls()

    def write(self, path: Path) -> None:
        files.write_json(self._path(path), {"validator": self.validator, "total": self.total})

    def forget(self, path: Path) -> None:
        self._path(path).unlink(missing_ok=True)


def _validator(answer: httpx.Response) -> str | None:
    etag: str = answer.headers.get("ETag", "")
    modified: str | None = answer.headers.get("Last-Modified")
    return etag if etag.startswith('"') else modified


def _announced(answer: httpx.Response) -> int | None:
    """Return the length of the whole file, as the server announces it."""
    whole = answer.headers.get("Content-Range", "").rpartition("/")[2]
    if not whole and answer.status_code == httpx.codes.OK:
        whole = answer.headers.get("Content-Length", "")
    return int(whole) if whole.isdecimal() else None


def _range_start(answer: httpx.Response) -> int:
    start = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    return int(start) if start.isdecimal() else -1


def _retry_after(answer: httpx.Response) -> float:
    seconds = answer.headers.get("Retry-After", "")
    return float(seconds) if seconds.isdecimal() else 0.0
