"""The example configuration for real videos, as far as it goes in seconds; the whole of it runs in CI."""

from pathlib import Path

import pytest

from deepfake_core import pipeline, tables
from deepfake_core.config_file import load_config
from deepfake_core.errors import SplitError
from deepfake_core.resources import configs_folder
from deepfake_core.workspace import Workspace

REAL_SAMPLE = configs_folder() / "real-sample.yaml"


@pytest.mark.real_data
def test_official_lists_without_a_test_identity_are_refused_before_any_work(real_data: Path, workspace: Workspace):
    config = load_config(REAL_SAMPLE, ["split.mode=official"])

    with pytest.raises(SplitError, match=r"put no video of this workspace into 'test' \(found 10 originals: 183, 253"):
        next(pipeline.run_pipeline(workspace, config))

    assert sorted(path.name for path in workspace.root.iterdir()) == ["workspace.json"]


@pytest.mark.real_data
def test_the_ten_identities_go_to_three_splits_as_whole_pairs(real_data: Path, workspace: Workspace):
    config = load_config(REAL_SAMPLE)

    pipeline.run_stage("download", workspace, config)
    pipeline.run_stage("split", workspace, config)

    rows = tables.read(workspace.splits_table, schema=tables.SPLITS).to_pylist()
    groups = {(row["group"], row["split"]) for row in rows}
    assert len(rows) == tables.read(workspace.videos_table, schema=tables.VIDEOS).num_rows
    assert len(groups) == len({group for group, _ in groups}) == 5
    assert sorted(split for _, split in groups) == ["test", "train", "train", "train", "val"]
