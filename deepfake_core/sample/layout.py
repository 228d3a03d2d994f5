"""Names and folders: where FaceForensics++ keeps what, and who is swapped with whom."""

import base64
import hashlib
from pathlib import Path

import numpy as np

ORIGINALS = "original_sequences/youtube"
FAKES = "manipulated_sequences"

Pair = tuple[int, int]


def name_of(number: int) -> str:
    """Return the name of an original, such as ``007``."""
    return f"{number:03d}"


def pairs(identities: int) -> tuple[Pair, ...]:
    """Return who is swapped with whom."""
    return tuple((first, first + 1) for first in range(0, identities, 2))


def original_path(number: int, compression: str) -> Path:
    """Return the path of an original below the data set's folder."""
    return Path(ORIGINALS) / compression / "videos" / f"{name_of(number)}.mp4"


def fake_path(method: str, target: int, source: int, compression: str) -> Path:
    """Return the path of a fake below the data set's folder."""
    return Path(FAKES) / method / compression / "videos" / f"{name_of(target)}_{name_of(source)}.mp4"


def split_lists(identities: int, *, seed: int) -> dict[str, list[list[str]]]:
    """Return the lists of ``train``, ``val`` and ``test``: pairs of names, about 21 : 5 : 6."""
    everyone = pairs(identities)
    order = np.random.default_rng([seed, 6]).permutation(len(everyone))
    val = max(round(len(everyone) * 5 / 32), 1)
    test = max(round(len(everyone) * 6 / 32), 1)
    named = [[name_of(number) for number in everyone[int(i)]] for i in order]
    return {"train": sorted(named[val + test :]), "val": sorted(named[:val]), "test": sorted(named[val : val + test])}


def conversion_table(identities: int, *, seed: int) -> dict[str, str]:
    """Return the table from a name to the id of the video it was cut from, and the number of the cut."""
    return {name_of(number): f"{_video_id(number, seed=seed)} 0" for number in range(identities)}


def _video_id(number: int, *, seed: int) -> str:
    """Return eleven characters that look like a video id of the original data set's site."""
    digest = hashlib.sha256(f"sample {seed} {number}".encode()).digest()
    return base64.urlsafe_b64encode(digest)[:11].decode()
