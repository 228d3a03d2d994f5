"""A scratch folder leaves nothing behind, and takes nothing from a run that is alive."""

import pytest

from deepfake_core.serving.scratch import scratch_folder


def folders_in(folder):
    return [path for path in folder.iterdir() if path.is_dir()]


def test_it_is_gone_afterwards_even_after_an_interrupt(tmp_path):
    def interrupted():
        with scratch_folder(tmp_path) as scratch:
            (scratch / "crops.parquet").write_bytes(b"crops")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert folders_in(tmp_path) == []


def test_what_a_killed_run_left_is_swept_but_not_what_a_living_one_uses(tmp_path):
    killed = tmp_path / ".scratch-killed"
    killed.mkdir()
    (killed / "crops.parquet").write_bytes(b"crops")
    (killed / "lock").write_bytes(b"")

    with scratch_folder(tmp_path) as alive, scratch_folder(tmp_path) as other:
        assert sorted(folders_in(tmp_path)) == sorted([alive, other])
