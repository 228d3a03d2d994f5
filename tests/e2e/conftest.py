"""One tiny run of the whole way, shared by the tests that look at what it left behind."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deepfake_core.workspace import Workspace

TINY = Path(__file__).parent / "tiny.yaml"


@dataclass(frozen=True)
class Ended:
    """A finished command."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


def command_line(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "deepfake_core.cli", *(str(argument) for argument in arguments)]


def run_deepfake(*arguments: str | Path, cwd: Path | None = None) -> Ended:
    """Run the command in a process of its own, as a person would."""
    done = subprocess.run(command_line(*arguments), capture_output=True, text=True, cwd=cwd, check=False)
    return Ended(done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True)
class Run:
    """A run of the whole way."""

    workspace: Workspace
    ended: Ended


@pytest.fixture(scope="session")
def tiny_config() -> Path:
    return TINY


@pytest.fixture(scope="session")
def deepfake():
    """Return the function that runs ``deepfake`` with arguments."""
    return run_deepfake


@pytest.fixture(scope="session")
def deepfake_command():
    """Return the function that makes the command line of ``deepfake`` with arguments."""
    return command_line


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run the whole way once at tiny size; the tests that take this only read it."""
    root = tmp_path_factory.mktemp("whole way") / "wörkspace"
    ended = run_deepfake("run", "--config", TINY, "--workspace", root, "--json")
    assert ended.exit_code == 0, ended.stderr
    return Run(Workspace(root), ended)
