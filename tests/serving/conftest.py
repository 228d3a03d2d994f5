"""Workspaces as they are after ``evaluate``, without drawing a single figure."""

from collections.abc import Callable
from typing import Any

import pytest

from deepfake_core import files
from deepfake_core.config import EvaluateConfig
from deepfake_core.receipts import open_stage
from deepfake_core.report import StageReport
from deepfake_core.serving.session import Scorer
from deepfake_core.workspace import Workspace


@pytest.fixture(scope="session")
def evaluate_quickly() -> Callable[[Workspace], None]:
    """Return a function that leaves in a workspace what ``evaluate`` leaves, but figures and page."""
    from deepfake_core.evaluation.measures import measure
    from deepfake_core.evaluation.predictions import list_test_videos, predict

    def evaluate(workspace: Workspace) -> None:
        config = EvaluateConfig(resamples=100)
        with open_stage(workspace, "evaluate", config=config) as work:
            scorer = Scorer.open(workspace.onnx_model)
            predictions = predict(workspace, scorer, list_test_videos(workspace, contract=scorer.contract))
            results = measure(predictions, contract=scorer.contract, config=config) | {"faces_digest": "f" * 64}
            files.write_json(workspace.evaluation / "metrics.json", results)
            work.finish(StageReport(stage="evaluate"), outputs=[workspace.evaluation / "metrics.json"])

    return evaluate


@pytest.fixture
def evaluated(
    exported_workspace: Callable[..., Workspace], evaluate_quickly: Callable[[Workspace], None]
) -> Callable[..., Workspace]:
    """Return a function that makes a workspace whose model is evaluated, as ``exported_workspace`` does."""

    def make(**values: Any) -> Workspace:
        workspace = exported_workspace(**{"test_groups": 3, **values})
        evaluate_quickly(workspace)
        return workspace

    return make
