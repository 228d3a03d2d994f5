"""What others rely on: the verbs, the commands and their help."""

import pytest
from typer.testing import CliRunner

import deepfake_core
from deepfake_core import stages
from deepfake_core.cli import app

RUNNER = CliRunner()
COMMANDS = [
    "demo",
    "run",
    "status",
    "config",
    "sample-data",
    "download",
    "split",
    "extract",
    "validate",
    "records",
    "train",
    "export",
    "evaluate",
    "register",
    "promote",
    "score",
    "models",
    "rollback",
]


def test_there_is_one_verb_a_stage_in_the_order_of_the_data():
    assert len(deepfake_core.__all__) == len(stages.STAGES)
    for verb in deepfake_core.__all__:
        assert callable(getattr(deepfake_core, verb)), verb


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'train_everything'"):
        _ = deepfake_core.train_everything


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str):
    shown = RUNNER.invoke(app, [command, "--help"], env={"COLUMNS": "200"})

    assert shown.exit_code == 0
    assert f"Example: deepfake {command}" in shown.output


def test_the_version_is_the_one_of_the_distribution():
    shown = RUNNER.invoke(app, ["--version"])

    assert shown.exit_code == 0
    assert shown.output.strip().count(".") == 2
