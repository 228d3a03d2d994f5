"""A scratch folder for one run, which leaves nothing behind even when the run is killed."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

_PREFIX = ".scratch-"
_LOCK = "lock"


@contextlib.contextmanager
def scratch_folder(folder: Path) -> Iterator[Path]:
    """Yield a new folder below ``folder`` and remove it afterwards.

    What killed runs left is removed first. The scratch folder of a run that is still alive is let be: its lock is
    held, while the lock of a killed process is free.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"{_PREFIX}lock"):  # nobody may sweep between the next folder's making and its locking
        for leftover in sorted(path for path in folder.glob(f"{_PREFIX}*") if path.is_dir()):
            _remove_if_free(leftover)
        scratch = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=folder))
        alive = FileLock(scratch / _LOCK)
        alive.acquire()
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        alive.release()


def _remove_if_free(scratch: Path) -> None:
    with contextlib.suppress(Timeout), FileLock(scratch / _LOCK, timeout=0):
        shutil.rmtree(scratch, ignore_errors=True)
