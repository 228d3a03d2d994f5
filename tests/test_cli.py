"""The command line: exit codes, errors that teach, JSON that stands alone."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from deepfake_core import files
from deepfake_core.cli import app
from deepfake_core.workspace import Workspace

RUNNER = CliRunner()


def deepfake(*arguments: str | Path) -> Result:
    return RUNNER.invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


def test_an_unknown_key_ends_with_2_and_names_the_nearest(tmp_path: Path):
    ended = deepfake("run", "--workspace", tmp_path / "w", "--set", "train.epoch=3")

    assert ended.exit_code == 2
    assert "Did you mean 'train.epochs'?" in ended.stderr


def test_a_workspace_of_another_version_ends_with_2(tmp_path: Path):
    workspace = Workspace.open(tmp_path / "w")
    files.write_json(workspace.marker, {"schema": 99})

    ended = deepfake("status", "--workspace", workspace.root)

    assert ended.exit_code == 2
    assert "schema version 99" in ended.stderr


def test_a_stage_before_its_inputs_ends_with_1_and_says_what_to_run(tmp_path: Path):
    ended = deepfake("train", "--workspace", tmp_path / "w")

    assert ended.exit_code == 1
    assert "Run: deepfake records" in ended.stderr


def test_an_empty_folder_of_videos_is_a_clear_error(tmp_path: Path):
    (tmp_path / "nothing").mkdir()

    ended = deepfake("download", "--workspace", tmp_path / "w", "--set", f"download.path={tmp_path / 'nothing'}")

    assert ended.exit_code == 1
    assert "original_sequences" in ended.stderr


def test_an_error_under_json_is_json_alone_on_stdout(tmp_path: Path):
    ended = deepfake("train", "--workspace", tmp_path / "w", "--json")

    assert json.loads(ended.stdout)["error"] == "MissingInput"


def test_status_of_a_new_workspace_shows_every_stage_as_missing(tmp_path: Path):
    workspace = Workspace.open(tmp_path / "w")

    ended = deepfake("status", "--workspace", workspace.root, "--json")

    rows = json.loads(ended.stdout)
    assert [row["stage"] for row in rows][:3] == ["download", "split", "extract"]
    assert {row["state"] for row in rows} == {"missing"}


def test_the_workspace_remembers_the_configuration_of_its_last_command(tmp_path: Path):
    deepfake("download", "--workspace", tmp_path / "w", "--set", "train.epochs=3")

    shown = deepfake("config", "--workspace", tmp_path / "w", "--set", "seed=7")

    assert "epochs: 3" in shown.stdout
    assert "seed: 7" in shown.stdout


@pytest.mark.parametrize("model", ["model.pt", "something"])
def test_scoring_refuses_what_is_neither_a_registry_uri_nor_an_onnx_file(tmp_path: Path, model: str):
    ended = deepfake("score", tmp_path, "--model", model, "--workspace", tmp_path / "w")

    assert ended.exit_code == 2
    assert "an .onnx file" in ended.stderr


def test_a_refused_override_is_not_remembered(tmp_path: Path):
    deepfake("split", "--workspace", tmp_path / "w", "--set", "seed=7")

    assert "seed: 42" in deepfake("config", "--workspace", tmp_path / "w").stdout
