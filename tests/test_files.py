"""Files: what is seen on disk is old or new, never half."""

import os
import subprocess
import sys
import time
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


def test_what_a_living_process_writes_is_not_swept(tmp_path: Path):
    with files.replacing(tmp_path / "x.parquet") as mine:
        assert files.sweep_temporaries(tmp_path) == 0
        assert mine.exists()

    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    dead = mine.with_name(mine.name.replace(f"-{os.getpid()}-", f"-{int(ended.stdout)}-"))
    dead.write_bytes(b"half")
    assert files.sweep_temporaries(tmp_path) == 1


def test_what_another_machine_writes_is_swept_after_a_day(tmp_path: Path):
    there = tmp_path / f"{files.TEMPORARY_PREFIX}00000000-1-abc.parquet"
    there.write_bytes(b"half")

    assert files.sweep_temporaries(tmp_path) == 0
    yesterday = time.time() - files.A_DAY_SECONDS - 60
    os.utime(there, (yesterday, yesterday))
    assert files.sweep_temporaries(tmp_path) == 1
