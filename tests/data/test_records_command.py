"""``deepfake records --verify`` as people run it."""

import json

from typer.testing import CliRunner, Result

from deepfake_core import files
from deepfake_core.cli import app
from deepfake_core.data.records_index import read_index


def deepfake_records(workspace, *more: str) -> Result:
    arguments = ["records", "--workspace", str(workspace.root), "--set", "records.shards=[5, 2, 2]", *more]
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})


def test_records_are_written_and_proved_in_one_command(faces_workspace):
    workspace = faces_workspace()

    ended = deepfake_records(workspace, "--verify", "--json")

    assert ended.exit_code == 0, ended.stderr
    report = json.loads(ended.stdout)
    assert report["counts"] == {"faces": 120, "videos": 20, "shards": 9}
    assert "every face is in the records exactly once" in report["notes"][0]


def test_one_flipped_bit_ends_with_3_and_the_advice_mends_it(faces_workspace):
    workspace = faces_workspace()
    assert deepfake_records(workspace).exit_code == 0
    shard = workspace.resolve(read_index(workspace).splits["train"].shards[0].path)
    undamaged = files.sha256_of_file(shard)
    damaged = bytearray(shard.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    shard.write_bytes(damaged)

    ended = deepfake_records(workspace, "--verify")

    assert ended.exit_code == 3
    assert shard.name in ended.stderr
    assert f"Delete {workspace.records_index}" in " ".join(ended.stderr.split())
    workspace.records_index.unlink()
    assert deepfake_records(workspace, "--verify").exit_code == 0
    assert files.sha256_of_file(shard) == undamaged


def test_a_lost_shard_is_written_again_and_whole_records_are_found(faces_workspace):
    workspace = faces_workspace()
    deepfake_records(workspace)
    shard = workspace.resolve(read_index(workspace).splits["val"].shards[0].path)
    whole = files.sha256_of_file(shard)
    shard.unlink()

    again = json.loads(deepfake_records(workspace, "--json").stdout)
    found = json.loads(deepfake_records(workspace, "--json").stdout)

    assert (again["outcome"], found["outcome"]) == ("done", "found")
    assert files.sha256_of_file(shard) == whole
