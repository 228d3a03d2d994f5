"""Read the split lists and the table of YouTube ids, from a folder or a URL.

``train.json``, ``val.json`` and ``test.json`` hold pairs of people, ``[["071", "054"], …]``; ``conversion_dict.json``
maps a person to a YouTube video and the number of the cut, ``{"605": "nUNnFudF2pA 0", …}``.
"""

import json
from dataclasses import dataclass
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
    """

    where: str
    pairs: dict[str, tuple[tuple[str, ...], ...]] | None
    youtube_ids: dict[str, str]

    @property
    def digest(self) -> str:
        """SHA-256 of what the lists say, wherever they came from."""
        return files.sha256_of_values([self.pairs, self.youtube_ids])


def read_lists(config: SplitConfig, *, default: Path) -> SplitLists:
    """Read what the configuration names.

    Args:
        config: ``lists``, ``youtube_ids`` and ``mode``; only ``official`` needs the lists.
        default: folder of the lists where the configuration names none.

    Raises:
        SplitError: a list or the table is missing, cannot be read, or is no list of pairs.
    """
    where = config.lists or str(default)
    pairs = None
    if config.mode == "official":
        pairs = {split: _pairs(_read(where, f"{split}.json"), f"{split}.json") for split in SPLITS}
    return SplitLists(where, pairs, _youtube_ids(config, where))


def _youtube_ids(config: SplitConfig, where: str) -> dict[str, str]:
    if config.youtube_ids is not None:
        table = _read(str(config.youtube_ids.parent), config.youtube_ids.name)
    else:
        table = _read(where, YOUTUBE_IDS, needed=False)
    if not isinstance(table, dict) or not all(isinstance(value, str) and value.strip() for value in table.values()):
        message = f"{YOUTUBE_IDS} must map people to YouTube ids, such as {{'605': 'nUNnFudF2pA 0'}}."
        raise SplitError(message)
    return {str(name): value.split()[0] for name, value in table.items()}


def _pairs(values: Any, name: str) -> tuple[tuple[str, ...], ...]:
    wrong = not isinstance(values, list) or not all(_is_pair(value) for value in values)
    if wrong:
        message = f"{name} must be a list of pairs of names, such as [['071', '054'], …]. Received: {str(values)[:80]}"
        raise SplitError(message)
    return tuple(tuple(pair) for pair in values)


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(name, str) and name for name in value)


def _read(where: str, name: str, *, needed: bool = True) -> Any:
    """Read a JSON file of a folder or URL; one that is not needed and not there is an empty table."""
    try:
        return json.loads(
            _fetch(f"{where.rstrip('/')}/{name}") if _is_url(where) else (Path(where) / name).read_bytes()
        )
    except FileNotFoundError:
        if not needed:
            return {}
        message = (
            f"no {name} in {where}. Set split.lists to the folder or URL of train.json, val.json and test.json, "
            "or use split.mode=ratio."
        )
        raise SplitError(message) from None
    except (OSError, httpx.HTTPError, ValueError) as error:
        message = f"{name} in {where} cannot be read: {error}."
        raise SplitError(message) from None


def _fetch(url: str) -> bytes:
    transport = httpx.HTTPTransport(retries=CONNECT_ATTEMPTS)
    with httpx.Client(transport=transport, timeout=TIMEOUT_SECONDS, follow_redirects=True) as client:
        answer = client.get(url)
    if answer.status_code == httpx.codes.NOT_FOUND:
        raise FileNotFoundError(url)
    return answer.raise_for_status().content


def _is_url(where: str) -> bool:
    return where.startswith(("http://", "https://"))
