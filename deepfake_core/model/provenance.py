"""Which code made a model."""

import subprocess
from pathlib import Path

_SOURCE = Path(__file__).resolve()


def git_commit() -> str | None:
    """Return the commit of this code, with ``-dirty`` behind it where the checkout has changes.

    Returns:
        None where the code was installed from a wheel, or where there is no git.
    """
    # Tracked by the repository around it? An installed package may lie inside somebody else's checkout.
    if _git("ls-files", "--error-unmatch", _SOURCE.name) is None:
        return None
    return _git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def _git(*arguments: str) -> str | None:
    command = ["git", "-C", str(_SOURCE.parent), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
