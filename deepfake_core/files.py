"""Bytes on disk: digests, and writes that are never seen half done.

A reader sees either the old file or the whole new one: everything is written to a temporary name in the same
folder, flushed to disk, and renamed last.
"""

import functools
import hashlib
import json
import os
import platform
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

BLOCK_BYTES = 1 << 20
TEMPORARY_PREFIX = ".tmp-"
A_DAY_SECONDS = 86_400.0
_WRITER = re.compile(re.escape(TEMPORARY_PREFIX) + r"(?P<machine>[0-9a-f]{8})-(?P<process>\d+)-")


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hex digits, reading a block at a time."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def sha256_if_changed(path: Path) -> str:
    """Return the SHA-256 of a file, reading it again only if its size, time or inode changed since the last call."""
    stat = path.stat()
    return _remembered_sha256(path, stat.st_size, stat.st_mtime_ns, stat.st_ino)


@functools.lru_cache(maxsize=4096)
def _remembered_sha256(path: Path, size: int, mtime_ns: int, inode: int) -> str:  # noqa: ARG001 - they are the key
    return sha256_of_file(path)


def sha256_of_bytes(data: bytes) -> str:
    """Return the SHA-256 of ``data`` as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_of_values(values: Any) -> str:
    """Return the SHA-256 of JSON-like ``values``; equal values give equal digests whatever their key order."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return sha256_of_bytes(text.encode())


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it is synced and renamed to ``path``, else removed.

    The temporary name keeps the suffix of ``path``, because writers such as Keras and PyAV choose the format by it, and
    says who writes it, so that nobody sweeps it away meanwhile. What is not ``durable`` may be lost with the power.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(
        prefix=f"{TEMPORARY_PREFIX}{_machine()}-{os.getpid()}-", suffix=path.suffix, dir=path.parent
    )
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        if durable:
            with temporary.open("rb") as stream:
                os.fsync(stream.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write ``data`` to ``path`` atomically."""
    with replacing(path, durable=durable) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` as UTF-8, atomically."""
    write_bytes(path, text.encode())


def write_json(path: Path, values: Any) -> None:
    """Write JSON-like ``values`` to ``path``, indented, keys in their order, atomically."""
    write_text(path, json.dumps(values, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def sweep_temporaries(folder: Path) -> int:
    """Remove what killed processes left half written below ``folder``; return how many files that were.

    What a living process is writing stays; of another machine's processes nobody knows whether they live, for a day.
    """
    found = folder.rglob(f"{TEMPORARY_PREFIX}*")
    leftovers = [path for path in found if path.is_file() and not _is_being_written(path)]
    for path in leftovers:
        path.unlink(missing_ok=True)
    return len(leftovers)


def _is_being_written(temporary: Path) -> bool:
    writer = _WRITER.match(temporary.name)
    if writer is None:
        return False
    if writer["machine"] != _machine():
        return time.time() - temporary.stat().st_mtime < A_DAY_SECONDS
    try:
        return bool(psutil.Process(int(writer["process"])).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@functools.cache
def _machine() -> str:
    """Return a short name of this machine."""
    return sha256_of_bytes(platform.node().encode())[:8]
