"""A score table says the same in each format, and is refused before any work in another."""

import csv
import json

import pyarrow.parquet as pq
import pytest

from deepfake_core import tables
from deepfake_core.errors import ConfigError
from deepfake_core.serving.score_tables import frames_path, refuse_other_formats, write_table

ROWS = [
    {"video": 'a "quoted", name.mp4', "status": "scored", "verdict": "manipulated", "score": 0.1 + 0.2},
    {"video": "ä.mp4", "status": "no_face", "verdict": "undecidable", "reason": "No face."},
]


def written(path):
    write_table(path, tables.from_rows(ROWS, tables.SCORES), schema=tables.SCORES)
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    with path.open(encoding="utf-8", newline="") as stream:
        return [json.loads(line) for line in stream] if path.suffix == ".jsonl" else list(csv.DictReader(stream))


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".csv"])
def test_every_format_holds_the_same_rows_without_losing_a_digit(tmp_path, suffix):
    rows = written(tmp_path / f"scores{suffix}")

    assert list(rows[0]) == tables.SCORES.names
    assert [row["video"] for row in rows] == [row["video"] for row in ROWS]
    assert float(rows[0]["score"]) == 0.1 + 0.2
    assert rows[1]["score"] in (None, "")
    assert rows[1]["reason"] == "No face."


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".csv"])
def test_equal_tables_give_equal_bytes(tmp_path, suffix):
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    written(first)
    written(second)

    assert first.read_bytes() == second.read_bytes()


def test_another_format_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"\.parquet, \.csv, \.jsonl.*scores\.xlsx"):
        refuse_other_formats(tmp_path / "scores.xlsx")


def test_frame_scores_stand_beside_the_scores(tmp_path):
    assert frames_path(tmp_path / "may.csv").name == "may.frames.csv"
