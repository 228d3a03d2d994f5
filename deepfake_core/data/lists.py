"""Read the split lists and the table of YouTube ids, from a folder or a URL.

``train.json``, ``val.json`` and ``test.json`` hold pairs of people, ``[["071", "054"], …]``; ``conversion_dict.json``
maps a person to a YouTube video and the number of the cut, ``{"605": "nUNnFudF2pA 0", …}``. What a URL gave is kept in
the workspace and serves while the URL does not answer: finished work stays finished without a network.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from deepfake_core import files
from deepfake_core.config import SplitConfig
from deepfake_core.errors import SplitError
from deepfake_core.workspace import SPLITS

YOUTUBE_IDS = "conversion_dict.json"
TIMEOUT_SECONDS = 30.0
CONNECT_ATTEMPTS = 3


@dataclass(frozen=True)
class SplitLists:
    """What the lists say.

    Attributes:
        where: folder or URL they came from.
        pairs: split → pairs of names; None where there are no lists (``ratio`` needs none).
        youtube_ids: name → YouTube id; empty where there is no table.
        notes: remarks on what came from an earlier run.
    """

    where: str
    pairs: Mapping[str, Sequence[Sequence[str]]] | None
    youtube_ids: dict[str, str]
    notes: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 of what the lists say, wherever they came from."""
        return files.sha256_of_values([self.pairs, self.youtube_ids])


def read_lists(config: SplitConfig, *, default: Path, kept: Path | None = None) -> SplitLists:
    """Read what the configuration names.

    Args:
        config: ``lists``, ``youtube_ids`` and ``mode``; only ``official`` needs the lists.
        default: folder of the lists where the configuration names none.
        kept: folder that keeps what URLs gave, for the day on which they do not answer; None: nothing is kept.

    Raises:
        SplitError: a list or the table is missing, cannot be read, or is no list of pairs.
    """
    where = config.lists or str(default)
    memory = _Memory(kept)
    pairs = None
    if config.mode == "official":
        pairs = memory.latest(where, "lists", lambda: {split: _read_pairs(where, f"{split}.json") for split in SPLITS})
    table = memory.latest(config.youtube_ids or where, "youtube_ids", lambda: _read_table(config.youtube_ids, where))
    youtube_ids = {name: value.split()[0] for name, value in table.items()}
    return SplitLists(where, pairs, youtube_ids, tuple(memory.notes))


class _NoAnswer(SplitError):
    """A URL does not answer, or not with a file."""


@dataclass
class _Memory:
    """What URLs gave earlier runs: a JSON file each, below ``folder``."""

    folder: Path | None
    notes: list[str] = field(default_factory=list)

    def latest(self, place: str, kind: str, read: Callable[[], Any]) -> Any:
        """Return what ``read`` gives, or what it gave an earlier run where the URL ``place`` does not answer."""
        if self.folder is None or not _is_url(place):
            return read()
        path = self.folder / f"{kind}-{files.sha256_of_bytes(place.encode())[:16]}.json"
        try:
            values = read()
        except _NoAnswer as error:
            if not path.is_file():
                raise
            self.notes.append(f"{str(error).removesuffix('.')}; what an earlier run found there is used")
            return files.read_json(path)
        files.write_json(path, values)
        return values


def _read_pairs(where: str, name: str) -> list[list[str]]:
    try:
        values = _load(_join(where, name))
    except FileNotFoundError:
        message = (
            f"no {name} in {where}. Set split.lists to the folder or URL of train.json, val.json and test.json, "
            "or use split.mode=ratio."
        )
        raise SplitError(message) from None
    if not isinstance(values, list) or not all(_is_pair(value) for value in values):
        message = f"{name} must be a list of pairs of names, such as [['071', '054'], …]. Received: {str(values)[:80]}"
        raise SplitError(message)
    return values


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(name, str) and name for name in value)


def _read_table(asked_for: str | None, where: str) -> dict[str, str]:
    """Read the table of YouTube ids; one that nobody asked for and that is not there is an empty one."""
    place = asked_for or _join(where, YOUTUBE_IDS)
    try:
        values = _load(place)
    except FileNotFoundError:
        if asked_for is None:
            return {}
        message = (
            f"no table of YouTube ids at {place}. Set split.youtube_ids to its file or URL ({YOUTUBE_IDS} of "
            "FaceForensics++), or to null, where it lies beside the lists or is not known."
        )
        raise SplitError(message) from None
    if not isinstance(values, dict) or not all(isinstance(value, str) and value.strip() for value in values.values()):
        message = (
            f"{place} must map people to YouTube ids, such as {{'605': 'nUNnFudF2pA 0'}}. Received: {str(values)[:80]}"
        )
        raise SplitError(message)
    return values


def _load(place: str) -> Any:
    """Return the values of a JSON file or URL.

    Raises:
        FileNotFoundError: there is none.
        SplitError: it cannot be read.
    """
    try:
        return json.loads(_fetch(place) if _is_url(place) else Path(place).read_bytes())
    except FileNotFoundError:
        raise
    except httpx.HTTPError as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        message = f"{place} cannot be read: {reason}."
        raise _NoAnswer(message) from None
    except (OSError, httpx.InvalidURL, ValueError, RecursionError) as error:
        message = f"{place} cannot be read: {error}."
        raise SplitError(message) from None


def _fetch(url: str) -> bytes:
    transport = httpx.HTTPTransport(retries=CONNECT_ATTEMPTS)
    with httpx.Client(transport=transport, timeout=TIMEOUT_SECONDS, follow_redirects=True) as client:
        answer = client.get(url)
    if answer.status_code == httpx.codes.NOT_FOUND:
        raise FileNotFoundError(url)
    return answer.raise_for_status().content


def _join(where: str, name: str) -> str:
    return f"{where.rstrip('/')}/{name}" if _is_url(where) else str(Path(where) / name)


def _is_url(place: str) -> bool:
    return place.lower().startswith(("http://", "https://"))
