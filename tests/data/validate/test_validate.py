"""The gate: what it lets through, what it refuses, and what it leaves behind."""

import pytest

from deepfake_core import receipts, tables
from deepfake_core.config import ValidateConfig
from deepfake_core.data.validate import validate_data
from deepfake_core.errors import DataQualityError, MissingInput

FAKE = "ffpp/Deepfakes/c23/001_002"
ORIGINAL = "ffpp/original/c23/001"


def test_clean_data_passes_and_leaves_results_and_a_receipt(workspace, dataset):
    dataset.write(workspace)

    report = validate_data(workspace, config=ValidateConfig())

    assert report.counts["passed"] == report.counts["checks"] == len(report.table)
    assert report.notes == ()
    results = tables.read(workspace.quality_results, schema=tables.QUALITY)
    assert all(results["passed"].to_pylist())
    assert receipts.state_of(workspace, "validate").state == "done"
    assert validate_data(workspace, config=ValidateConfig()).outcome == "found"


def test_a_fake_without_its_target_is_refused_after_results_are_written(workspace, dataset):
    dataset.drop_everywhere(ORIGINAL)
    dataset.write(workspace)

    with pytest.raises(DataQualityError, match="Every fake has its target at the same compression") as refusal:
        validate_data(workspace, config=ValidateConfig())

    assert refusal.value.exit_code == 3
    assert workspace.quality_results.is_file()
    with pytest.raises(MissingInput, match="'validate' is needed first"):
        receipts.require_done(workspace, "validate")
