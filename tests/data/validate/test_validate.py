"""The gate as a stage: what it lets through, what it refuses, and what it leaves behind."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from deepfake_core import files, receipts, tables
from deepfake_core.cli import app
from deepfake_core.config import ValidateConfig
from deepfake_core.data.validate import find_file_problems, validate_data
from deepfake_core.errors import DataQualityError, MissingInput, StaleInput
from deepfake_core.resources import expectations_folder
from deepfake_core.workspace import Workspace

FAKE = "ffpp/Deepfakes/c23/001_002"
ORIGINAL = "ffpp/original/c23/001"


def test_clean_data_passes_and_leaves_report_results_and_a_receipt(workspace, dataset):
    dataset.write(workspace)

    report = validate_data(workspace, config=ValidateConfig())

    assert report.counts["passed"] == report.counts["checks"] == len(report.table)
    assert report.counts["faces"] == len(dataset.faces)
    assert report.notes == ()
    assert report.failed == 0
    results = tables.read(workspace.quality_results, schema=tables.QUALITY)
    assert all(results["passed"].to_pylist())
    assert files.read_json(workspace.quality_results.with_suffix(".json")) == results.to_pylist()
    assert workspace.quality_report.is_file()
    assert receipts.state_of(workspace, "validate").state == "done"
    assert validate_data(workspace, config=ValidateConfig()).outcome == "found"


def test_a_report_that_was_deleted_is_written_again(workspace, dataset):
    dataset.write(workspace)
    validate_data(workspace, config=ValidateConfig())
    workspace.quality_report.unlink()

    assert validate_data(workspace, config=ValidateConfig()).outcome == "done"

    assert workspace.quality_report.is_file()


def test_a_refusal_names_what_was_seen_and_allowed_after_the_report_is_written(workspace, dataset):
    dataset.drop_everywhere(ORIGINAL)
    dataset.write(workspace)

    with pytest.raises(DataQualityError) as refusal:
        validate_data(workspace, config=ValidateConfig())

    assert refusal.value.exit_code == 3
    text = str(refusal.value)
    assert "1 critical expectation failed" in text
    assert "Every fake has its target at the same compression (videos)" in text
    assert "4 of 48 videos outside (8.33 %), lowest 0; allowed: at least 1." in text
    assert "Download the missing originals" in text
    assert str(workspace.quality_report) in text
    assert "Refused: 1 critical check failed" in workspace.quality_report.read_text()
    results = tables.read(workspace.quality_results, schema=tables.QUALITY).to_pylist()
    assert [row["column"] for row in results if not row["passed"]] == ["has_target"]
    assert [row["examples"] for row in results if row["passed"]] == [None] * (len(results) - 1)
    with pytest.raises(MissingInput, match="'validate' is needed first"):
        receipts.require_done(workspace, "validate")


def test_a_refusal_and_the_results_name_the_culprits(workspace, dataset):
    dataset.drop_everywhere(ORIGINAL)
    dataset.rows_of("extractions", FAKE)[0]["frames_sampled"] = 8
    dataset.write(workspace)

    with pytest.raises(DataQualityError) as refusal:
        validate_data(workspace, config=ValidateConfig())

    lines = str(refusal.value).splitlines()
    targets = next(place for place, line in enumerate(lines) if "has its target" in line)
    assert lines[targets + 1 : targets + 3] == [
        f"    ffpp/{method}/c23/001_002: no original 001 at c23" for method in ("Deepfakes", "Face2Face")
    ]
    assert not lines[targets + 3].startswith("    "), "two of the four are enough to begin with"
    assert f"    {FAKE}: 8 frames sampled, 12 expected" in lines
    results = tables.read(workspace.quality_results, schema=tables.QUALITY).to_pylist()
    examples = {row["column"]: row["examples"] for row in results if not row["passed"]}
    assert examples["frame_count_error"] == f"{FAKE}: 8 frames sampled, 12 expected"
    assert examples["has_target"].split("; ")[2] == "ffpp/FaceSwap/c23/001_002: no original 001 at c23"
    assert len(examples["has_target"].split("; ")) == 3
    assert files.read_json(workspace.quality_results.with_suffix(".json")) == results


def validate(workspace: Workspace, *arguments: str) -> Result:
    """Run the command as people type it."""
    return CliRunner().invoke(app, ["validate", "--workspace", str(workspace.root), *arguments])


def test_the_command_ends_with_3_where_the_data_is_refused(workspace, dataset):
    dataset.drop_everywhere(ORIGINAL)
    dataset.write(workspace)

    ended = validate(workspace, "--json")

    assert ended.exit_code == 3
    assert json.loads(ended.stdout)["error"] == "DataQualityError"
    assert "1 critical expectation failed" in ended.stderr
    assert validate(workspace, "--set", "validate.min_target_share=0.9").exit_code == 0


def test_the_command_ends_with_2_where_the_suites_are_not_there(workspace, dataset):
    dataset.write(workspace)

    ended = validate(workspace, "--set", "validate.suites=/nowhere")

    assert ended.exit_code == 2
    assert "/nowhere holds no suites" in ended.stderr


def test_a_warning_is_noted_and_the_data_passes(workspace, dataset):
    dataset.splits[0]["collision"] = "005"
    dataset.write(workspace)

    report = validate_data(workspace, config=ValidateConfig())

    assert report.counts["warnings"] == 1
    assert report.notes == (
        "warning: No identity shares a YouTube video with another split: 1 of 3 groups; allowed: none",
    )
    assert receipts.state_of(workspace, "validate").state == "done"


def test_the_verdict_follows_an_edited_suite(workspace, dataset, tmp_path):
    dataset.write(workspace)
    suites = shutil.copytree(expectations_folder(), tmp_path / "suites")
    config = ValidateConfig(suites=suites)
    assert validate_data(workspace, config=config).outcome == "done"

    content = files.read_json(suites / "videos.json")
    content["expectations"][2]["kwargs"]["min_value"] = 13
    files.write_json(suites / "videos.json", content)

    with pytest.raises(DataQualityError, match="lowest 12; allowed: at least 13"):
        validate_data(workspace, config=config)


def test_a_refusal_can_be_mended_by_another_threshold(workspace, dataset):
    dataset.drop_everywhere(ORIGINAL)
    dataset.write(workspace)
    with pytest.raises(DataQualityError):
        validate_data(workspace, config=ValidateConfig())

    report = validate_data(workspace, config=ValidateConfig(min_target_share=0.9))

    assert report.outcome == "done"


def test_new_faces_are_judged_again(workspace, dataset):
    dataset.write(workspace)
    validate_data(workspace, config=ValidateConfig())
    dataset.rows_of("extractions", FAKE)[0]["frames_sampled"] = 6
    dataset.write(workspace)

    with pytest.raises(DataQualityError, match="As many frames were sampled"):
        validate_data(workspace, config=ValidateConfig())


def test_nothing_is_judged_before_the_extraction_is_done(workspace):
    with pytest.raises(MissingInput, match="stage 'download' is needed first"):
        validate_data(workspace, config=ValidateConfig())


def test_tables_changed_by_hand_are_not_judged(workspace, dataset):
    dataset.write(workspace)
    dataset.drop("splits", FAKE)
    tables.write(workspace.splits_table, dataset.table("splits", tables.SPLITS), schema=tables.SPLITS)

    with pytest.raises(StaleInput, match="stage 'split' is stale"):
        validate_data(workspace, config=ValidateConfig())


def test_missing_damaged_and_short_faces_files_are_found(workspace, dataset):
    dataset.write(workspace)
    gone, damaged, short, zeroed, random, folder, closed = (row["video_id"] for row in dataset.videos[:7])
    workspace.faces_of(gone).unlink()
    workspace.faces_of(damaged).write_bytes(b"PAR1 and no more")
    table = tables.read(workspace.faces_of(short), schema=tables.FACES)
    tables.write(workspace.faces_of(short), table.slice(1), schema=tables.FACES)
    overwrite_footer(workspace.faces_of(zeroed), bytes)
    overwrite_footer(workspace.faces_of(random), np.random.default_rng(0).bytes)
    workspace.faces_of(folder).unlink()
    workspace.faces_of(folder).mkdir()
    workspace.faces_of(closed).unlink()
    workspace.faces_of(closed).symlink_to(workspace.faces_of(closed))

    problems = find_file_problems(workspace, dataset.table("extractions", tables.EXTRACTIONS))

    assert set(problems) == {gone, damaged, short, zeroed, random, folder, closed}
    assert problems[gone] == "the file is gone"
    assert problems[short] == "the file has 11 rows, the extractions table counted 12"
    for video_id in (damaged, zeroed, random, folder):
        assert problems[video_id].startswith(f"{workspace.faces_of(video_id)} is damaged")
    assert str(workspace.faces_of(closed)) in problems[closed]
    assert "is damaged" not in problems[closed], "nobody is told to delete what the system does not let us read"


def overwrite_footer(path: Path, make: Callable[[int], bytes]) -> None:
    """Replace what a Parquet file says about itself; its length and its magic bytes stay."""
    content = path.read_bytes()
    length = int.from_bytes(content[-8:-4], "little")
    path.write_bytes(content[: -8 - length] + make(length) + content[-8:])


def test_a_missing_faces_file_is_refused_unless_files_are_not_looked_at(workspace, dataset):
    dataset.write(workspace)
    workspace.faces_of(FAKE).unlink()

    with pytest.raises(DataQualityError, match="Every faces file is there and whole"):
        validate_data(workspace, config=ValidateConfig())
    assert validate_data(workspace, config=ValidateConfig(check_files=False)).outcome == "done"


def test_progress_reaches_its_end(workspace, dataset, bars):
    dataset.write(workspace)

    validate_data(workspace, config=ValidateConfig(), progress=bars)

    assert bars.done == bars.total > 3
