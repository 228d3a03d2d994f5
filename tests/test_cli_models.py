"""Promote, roll back, list and score from the command line, with the exit codes that scripts rely on."""

import csv
import json

import pytest
from typer.testing import CliRunner

from deepfake_core import files, receipts
from deepfake_core.cli import app
from deepfake_core.config import Config, SampleConfig
from deepfake_core.report import StageReport

RUNNER = CliRunner()
NAME = "deepfake-xception"
OPEN_GATE = ("promote.min_frame_auc=null", "promote.min_video_auc=null", "promote.min_groups=1")
CLOSED_GATE = (*OPEN_GATE, "promote.max_calibration_error=0.000001")


class Commands:
    """Runs ``deepfake`` commands in one workspace, and stands for the training of another model."""

    def __init__(self, workspace, write_model):
        self.workspace = workspace
        self.write_model = write_model

    def __call__(self, *arguments, gate=()):
        overrides = [part for value in gate for part in ("--set", value)]
        given = [*(str(argument) for argument in arguments), "--workspace", str(self.workspace.root), *overrides]
        return RUNNER.invoke(app, given, env={"COLUMNS": "200"})

    def models(self):
        """Return version → aliases."""
        return {row["version"]: row["aliases"] for row in json.loads(self("models", "--json").stdout)}

    def register_another(self, **values):
        """Export another model, store its predictions as ``evaluate`` does, and register it."""
        workspace = self.workspace
        run_id = files.read_json(workspace.training_record)["run_id"]
        self.write_model(workspace.onnx_model, mlflow_run_id=run_id, training_groups=("000", "001"), **values)
        with receipts.open_stage(workspace, "export", config=Config().export) as work:
            work.finish(StageReport(stage="export"), outputs=[workspace.onnx_model])
        assert self("evaluate", gate=("evaluate.resamples=100",)).exit_code == 0
        assert self("register").exit_code == 0


@pytest.fixture
def deepfake(exported_workspace, write_tiny_model, monkeypatch):
    """Return commands in a workspace with two registered versions."""
    from deepfake_core import plots

    monkeypatch.setattr(plots, "save", lambda _, path: files.write_bytes(path, b"") or path)  # drawing takes seconds
    commands = Commands(exported_workspace(test_groups=4, noise=2.0), write_tiny_model)
    commands.register_another(gain=0.1)
    assert commands("promote", gate=OPEN_GATE).exit_code == 0
    commands.register_another(gain=0.2)
    return commands


def test_a_refusal_ends_with_3_and_force_needs_a_reason_then_both_are_told(deepfake):
    refused = deepfake("promote", gate=CLOSED_GATE)
    wordless = deepfake("promote", "--version", "2", "--force", gate=CLOSED_GATE)
    assert (refused.exit_code, wordless.exit_code) == (3, 2)
    assert "max_calibration_error" in refused.stderr
    assert "--reason" in wordless.stderr
    assert deepfake.models() == {"2": "challenger", "1": "production"}

    forced = deepfake("promote", "--version", "2", "--force", "--reason", "version 1 is broken", gate=CLOSED_GATE)

    assert forced.exit_code == 0
    assert deepfake.models() == {"2": "challenger, production", "1": "previous"}
    assert "version 1 is broken" in deepfake("models", "--json").stdout
    assert deepfake("promote", "--version", "7").exit_code == 1


def test_a_rollback_stays_until_a_person_says_why_it_should_not(deepfake):
    assert deepfake("promote", gate=OPEN_GATE).exit_code == 0

    assert deepfake("rollback").exit_code == 2
    assert deepfake("rollback", "--reason", "false alarms").exit_code == 0

    assert deepfake.models() == {"2": "challenger", "1": "production"}
    again = deepfake("promote", gate=(*OPEN_GATE, "promote.resamples=500"))
    assert again.exit_code == 3
    assert "false alarms" in again.stderr
    assert deepfake("rollback", "--reason", "even further").exit_code == 1
    assert deepfake("promote", "--version", "2", "--reason", "mended the lights").exit_code == 0
    assert deepfake.models()["2"] == "challenger, production"


def test_a_pipeline_does_not_undo_a_rollback(deepfake):
    from deepfake_core import pipeline
    from deepfake_core.config_file import load_config

    assert deepfake("promote", gate=OPEN_GATE).exit_code == 0
    assert deepfake("rollback", "--reason", "false alarms").exit_code == 0

    config = load_config(deepfake.workspace.config_file)
    report = pipeline.run_stage("promote", deepfake.workspace, config)

    assert report.outcome == "found"
    assert deepfake.models() == {"2": "challenger", "1": "production"}


def test_models_are_named_by_alias_by_number_or_not_at_all(deepfake, tmp_path):
    from deepfake_core.sample import generate_sample

    sample = SampleConfig(identities=6, frames=5, width=320, height=240, methods=(), compressions=("c23",), workers=1)
    generate_sample(tmp_path / "sample", config=sample)
    video = min((tmp_path / "sample").rglob("*.mp4"))
    used = {}

    for model in (None, f"models:/{NAME}@challenger", f"models:/{NAME}/1"):
        output = tmp_path / "scores.csv"
        given = ("--model", model) if model else ()
        ended = deepfake("score", video, "--output", output, *given, gate=("score.workers=1",))
        assert ended.exit_code == 0, ended.output
        (row,) = csv.DictReader(output.open())
        assert row["status"] == "scored"
        used[model] = (row["model_name"], row["model_version"])

    assert used == {None: (NAME, "1"), f"models:/{NAME}@challenger": (NAME, "2"), f"models:/{NAME}/1": (NAME, "1")}
    assert deepfake("score", video, "--model", f"models:/{NAME}@champion").exit_code == 1
