"""Receipts: finished work is found, changed work is made again, stale work is not read."""

import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from deepfake_core import files, receipts
from deepfake_core.config import DownloadConfig, SplitConfig
from deepfake_core.errors import DataQualityError, MissingInput, StaleInput, WorkspaceBusy
from deepfake_core.report import StageReport
from deepfake_core.workspace import Workspace

DOWNLOAD, SPLIT = DownloadConfig(), SplitConfig(seed=1)


def make(
    workspace: Workspace, stage: str, output: Path, text: str, *, config: DownloadConfig | SplitConfig
) -> StageReport:
    """Run a stage whose whole work is to write ``text``."""
    with receipts.open_stage(workspace, stage, config=config) as work:
        if work.found:
            return work.found
        files.write_text(output, text)
        return work.finish(StageReport(stage=stage, counts={"letters": len(text)}), outputs=[output])


def refuse(workspace: Workspace, stage: str, message: str, *, config: DownloadConfig) -> None:
    """Run a stage whose gate refuses."""
    with receipts.open_stage(workspace, stage, config=config):
        raise DataQualityError(message)


def test_finished_work_is_found_with_its_report(workspace: Workspace):
    first = make(workspace, "download", workspace.videos_table, "a", config=DOWNLOAD)
    second = make(workspace, "download", workspace.videos_table, "never written", config=DOWNLOAD)

    assert (first.outcome, second.outcome) == ("done", "found")
    assert second.counts == {"letters": 1}
    assert workspace.videos_table.read_text() == "a"


def test_a_changed_configuration_makes_the_stage_again_and_says_what_changed(workspace: Workspace):
    make(workspace, "download", workspace.videos_table, "a", config=DOWNLOAD)
    again = make(workspace, "download", workspace.videos_table, "b", config=DownloadConfig(num_videos=3))

    assert again.outcome == "done"
    assert "num_videos None → 3" in again.notes[0]
    assert workspace.videos_table.read_text() == "b"
    found = make(workspace, "download", workspace.videos_table, "c", config=DownloadConfig(num_videos=3))
    assert (found.outcome, found.notes) == ("found", ())


def test_a_stage_before_its_inputs_is_refused(workspace: Workspace):
    with pytest.raises(MissingInput, match="'download' is needed first"):
        make(workspace, "split", workspace.splits_table, "x", config=SPLIT)


def test_an_altered_output_is_stale_and_nobody_reads_it(workspace: Workspace):
    make(workspace, "download", workspace.videos_table, "a", config=DOWNLOAD)
    workspace.videos_table.write_text("tampered")

    assert receipts.state_of(workspace, "download").state == "stale"
    with pytest.raises(StaleInput, match="is not what it wrote"):
        make(workspace, "split", workspace.splits_table, "x", config=SPLIT)


def test_new_output_upstream_makes_a_stage_stale_but_equal_output_does_not(workspace: Workspace):
    make(workspace, "download", workspace.videos_table, "a", config=DOWNLOAD)
    make(workspace, "split", workspace.splits_table, "x", config=SPLIT)

    make(workspace, "download", workspace.videos_table, "a", config=DownloadConfig(num_videos=3))
    assert receipts.state_of(workspace, "split").state == "done"

    make(workspace, "download", workspace.videos_table, "b", config=DownloadConfig(num_videos=4))
    assert receipts.state_of(workspace, "split").why == "stage 'download' gave new output"


def test_a_lost_output_is_made_again(workspace: Workspace):
    make(workspace, "download", workspace.videos_table, "a", config=DOWNLOAD)
    workspace.videos_table.unlink()

    assert make(workspace, "download", workspace.videos_table, "a", config=DOWNLOAD).outcome == "done"
    assert workspace.videos_table.exists()


def _die_inside_the_stage(root: Path) -> None:
    with receipts.open_stage(Workspace(root), "download", config=DOWNLOAD):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_stage_is_partial_and_frees_its_lock(workspace: Workspace):
    child = multiprocessing.get_context("spawn").Process(target=_die_inside_the_stage, args=(workspace.root,))
    child.start()
    child.join()

    assert child.exitcode == -signal.SIGKILL
    assert receipts.state_of(workspace, "download").state == "partial"
    assert make(workspace, "download", workspace.videos_table, "a", config=DOWNLOAD).outcome == "done"
    assert receipts.state_of(workspace, "download").state == "done"


def test_two_processes_never_run_one_stage_at_once(workspace: Workspace):
    with (
        receipts.open_stage(workspace, "download", config=DOWNLOAD),
        pytest.raises(WorkspaceBusy, match="another process"),
    ):
        make(workspace, "download", workspace.videos_table, "a", config=DOWNLOAD)


def test_a_damaged_receipt_counts_as_none(workspace: Workspace):
    make(workspace, "download", workspace.videos_table, "a", config=DOWNLOAD)
    (workspace.receipts / "download.json").write_text("{", encoding="utf-8")

    assert receipts.state_of(workspace, "download").state == "missing"


def test_a_refusal_is_told_by_whoever_needs_the_stage_next(workspace: Workspace):
    with pytest.raises(DataQualityError):
        refuse(workspace, "download", "3 critical checks failed:\n- every one of them", config=DOWNLOAD)

    standing = receipts.state_of(workspace, "download")
    assert (standing.state, standing.why) == ("partial", "it refused: 3 critical checks failed")
    with pytest.raises(MissingInput, match="'download' is needed first: it refused: 3 critical checks failed"):
        make(workspace, "split", workspace.splits_table, "x", config=SPLIT)
    make(workspace, "download", workspace.videos_table, "a", config=DOWNLOAD)
    assert receipts.state_of(workspace, "download").state == "done"
