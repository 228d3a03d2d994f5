"""Killed in every stage, and run again by the same command: nothing finished is lost, nothing half-written is read."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from deepfake_core import files, receipts
from deepfake_core.config_file import load_config
from deepfake_core.pipeline import stage_names
from deepfake_core.workspace import Workspace

STABLE = ("sample", "download", "split", "extract", "records")
"""Stages whose output is the same bytes in every run; training on several threads is not."""


def kill_when_stage_begins(command: list[str], workspace: Workspace, stage: str) -> int:
    """Start the command, kill its whole process group when ``stage`` has begun; return the exit code."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    marker = workspace.receipts / f"{stage}.started"
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if marker.exists():
            time.sleep(0.15)
            os.killpg(process.pid, signal.SIGKILL)
            break
        time.sleep(0.01)
    return process.wait(timeout=60)


@pytest.mark.timeout(900)  # a dozen starts of the whole program
def test_a_run_that_is_killed_in_every_stage_ends_like_an_undisturbed_one(
    finished, deepfake, deepfake_command, tiny_config: Path, tmp_path: Path
):
    workspace = Workspace(tmp_path / "w")
    arguments = ("run", "--config", tiny_config, "--workspace", workspace.root, "--json")
    names = stage_names(load_config(tiny_config))

    codes = {stage: kill_when_stage_begins(deepfake_command(*arguments), workspace, stage) for stage in names}
    ended = deepfake(*arguments)

    killed = [stage for stage, code in codes.items() if code == -signal.SIGKILL]
    assert len(killed) >= len(names) - 3, f"the kills missed too many stages: {codes}"
    assert ended.exit_code == 0, ended.stderr
    for stage in STABLE:
        here, there = receipts.read_receipt(workspace, stage), receipts.read_receipt(finished.workspace, stage)
        assert here is not None
        assert there is not None
        assert here.outputs_digest == there.outputs_digest, stage
    assert not list(workspace.root.rglob(f"{files.TEMPORARY_PREFIX}*.parquet"))


def finished_faces(workspace: Workspace) -> dict[Path, int]:
    """Return when each faces file under its final name was written."""
    return {path: path.stat().st_mtime_ns for path in workspace.faces.rglob("[!.]*.parquet")}


def test_an_interrupt_is_answered_and_the_same_command_goes_on(
    deepfake, deepfake_command, tiny_config: Path, tmp_path: Path
):
    workspace = Workspace(tmp_path / "w")
    arguments = ("extract", "--config", tiny_config, "--workspace", workspace.root)
    deepfake("sample-data", tmp_path / "videos", "--config", tiny_config)
    there = ("--set", f"download.path={tmp_path / 'videos'}", "--set", "sample.enabled=false")
    assert deepfake("download", "--config", tiny_config, "--workspace", workspace.root, *there).exit_code == 0

    process = subprocess.Popen(
        deepfake_command(*arguments, *there), stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while process.poll() is None and not finished_faces(workspace):
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, shown = process.communicate(timeout=60)
    kept = finished_faces(workspace)
    again = deepfake(*arguments, *there)

    assert process.returncode == 130, shown
    assert "run the same command again" in shown
    assert kept
    assert again.exit_code == 0, again.stderr
    assert {path: finished_faces(workspace)[path] for path in kept} == kept
