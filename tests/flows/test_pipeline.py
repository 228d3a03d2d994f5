"""The flow runs the same stages as the command line, the extraction one task a shard."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.testing.utilities import prefect_test_harness

from deepfake_core import receipts
from deepfake_core.config import Config
from deepfake_core.config_file import load_config
from deepfake_core.errors import DataQualityError
from deepfake_core.pipeline import stage_names
from deepfake_core.workspace import Workspace
from flows.pipeline import run_pipeline

TINY = Path(__file__).parents[1] / "e2e" / "tiny.yaml"


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[None]:
    """Run Prefect's embedded server for this module."""
    os.environ.setdefault("PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW", "ignore")
    with prefect_test_harness(server_startup_timeout=90):
        yield


def task_names() -> list[str]:
    with get_client(sync_client=True) as client:
        return [run.name for run in client.read_task_runs(limit=200)]


def test_the_flow_goes_the_whole_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config = load_config(TINY)
    # A video that timed out in its shard must not be tried again by the task that collects: it only collects.
    monkeypatch.setattr("deepfake_core.data.extract.extract_faces", None)

    reports = run_pipeline(config, tmp_path / "w")

    workspace = Workspace(tmp_path / "w")
    assert [report.stage for report in reports] == list(stage_names(config))
    for name in stage_names(config):
        assert receipts.state_of(workspace, name, config=config.section(name)).state == "done"
    names = task_names()
    assert set(stage_names(config)) <= set(names)
    assert names.count("extract") == 1
    assert sum(name.startswith("extract-shard-") for name in names) == 3  # 120 videos in shards of 40


def test_a_gate_that_refuses_fails_the_flow(tmp_path: Path):
    config = Config.model_validate(
        load_config(TINY, ["validate.min_face_pixels=4000", "sample.identities=6", "split.counts=[2, 2, 2]"])
    )

    with pytest.raises(DataQualityError):
        run_pipeline(config, tmp_path / "w")
    assert receipts.read_receipt(Workspace(tmp_path / "w"), "records") is None
