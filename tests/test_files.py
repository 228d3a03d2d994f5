"""Files: what is seen on disk is old or new, never half."""

from pathlib import Path

import pytest

from deepfake_core import files


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path):
    path = tmp_path / "table.bin"
    files.write_bytes(path, b"old")

    def fail_half_way() -> None:
        with files.replacing(path) as temporary:
            temporary.write_bytes(b"ha")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        fail_half_way()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_keeps_the_suffix_and_makes_its_folder(tmp_path: Path):
    path = tmp_path / "deep" / "model.keras"
    with files.replacing(path) as temporary:
        assert temporary.suffix == ".keras"
        temporary.write_bytes(b"x")

    assert path.read_bytes() == b"x"


def test_digests_do_not_depend_on_the_order_of_keys_but_on_every_value():
    assert files.sha256_of_values({"a": 1, "b": 2}) == files.sha256_of_values({"b": 2, "a": 1})
    assert files.sha256_of_values({"a": 1, "b": 2}) != files.sha256_of_values({"a": 1, "b": 3})


def test_a_remembered_digest_notices_a_new_file(tmp_path: Path):
    path = tmp_path / "x"
    files.write_bytes(path, b"one")
    first = files.sha256_if_changed(path)
    files.write_bytes(path, b"two")

    assert files.sha256_if_changed(path) == files.sha256_of_bytes(b"two") != first


def test_leftovers_of_killed_processes_are_swept(tmp_path: Path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / f"{files.TEMPORARY_PREFIX}abc.parquet").write_bytes(b"half")
    (tmp_path / "deep" / "whole.parquet").write_bytes(b"whole")

    assert files.sweep_temporaries(tmp_path) == 1
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["whole.parquet"]
