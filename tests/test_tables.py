"""Tables: what is written is read back, equal tables are equal bytes, another version is refused."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from deepfake_core import tables
from deepfake_core.errors import MissingInput, WorkspaceError

ROWS = [
    {"video_id": "a", "frame": 0, "status": "ok", "jpeg": b"\xff\xd8", "landmarks": [1.0] * 10},
    {"video_id": "a", "frame": 4, "status": "no_face", "reason": "no face found"},
]


def test_faces_come_back_as_they_were_written(tmp_path: Path):
    path = tmp_path / "faces.parquet"
    tables.write(path, tables.from_rows(ROWS, tables.FACES), schema=tables.FACES)

    rows = tables.read(path, schema=tables.FACES).to_pylist()

    assert rows[0]["jpeg"] == b"\xff\xd8"
    assert rows[0]["landmarks"] == [1.0] * 10
    assert rows[1]["jpeg"] is None
    assert rows[1]["landmarks"] is None
    assert tables.check(path, schema=tables.FACES) == 2


def test_images_are_stored_plain_and_equal_tables_are_equal_bytes(tmp_path: Path):
    for name in ("one", "two"):
        tables.write(tmp_path / name, tables.from_rows(ROWS, tables.FACES), schema=tables.FACES)

    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    group = pq.ParquetFile(tmp_path / "one").metadata.row_group(0)
    jpeg = next(group.column(i) for i in range(group.num_columns) if group.column(i).path_in_schema == "jpeg")
    assert jpeg.compression == "UNCOMPRESSED"
    assert "RLE_DICTIONARY" not in jpeg.encodings


def test_a_row_without_a_required_value_is_never_written(tmp_path: Path):
    path = tmp_path / "faces.parquet"

    with pytest.raises(ValueError, match="'video_id' with null values"):
        tables.write(path, tables.from_rows([{"frame": 1}], tables.FACES), schema=tables.FACES)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_table_names_itself(tmp_path: Path):
    with pytest.raises(MissingInput, match=r"videos\.parquet does not exist"):
        tables.read(tmp_path / "videos.parquet", schema=tables.VIDEOS)


def test_a_table_of_an_older_schema_is_refused(tmp_path: Path):
    path = tmp_path / "faces.parquet"
    old = tables.FACES.with_metadata({**tables.FACES.metadata, b"deepfake.version": b"0"})
    pq.write_table(tables.from_rows(ROWS, tables.FACES).replace_schema_metadata(old.metadata), path)

    with pytest.raises(WorkspaceError, match="expected version '1', found '0'"):
        tables.read(path, schema=tables.FACES)


def test_another_table_is_refused(tmp_path: Path):
    path = tmp_path / "faces.parquet"
    tables.write(path, tables.from_rows(ROWS, tables.FACES), schema=tables.FACES)

    with pytest.raises(WorkspaceError, match="expected table 'videos', found 'faces'"):
        tables.read(path, schema=tables.VIDEOS)


def test_a_damaged_table_is_refused(tmp_path: Path):
    path = tmp_path / "faces.parquet"
    tables.write(path, tables.from_rows(ROWS, tables.FACES), schema=tables.FACES)
    path.write_bytes(path.read_bytes()[:-20])

    with pytest.raises(WorkspaceError, match="is damaged"):
        tables.read(path, schema=tables.FACES)


def test_a_footer_with_any_byte_changed_is_read_or_refused_by_name(tmp_path: Path):
    path = tmp_path / "faces.parquet"
    tables.write(path, tables.from_rows(ROWS, tables.FACES), schema=tables.FACES)
    content = path.read_bytes()
    footer = range(len(content) - 8 - int.from_bytes(content[-8:-4], "little"), len(content))

    for place in footer:
        path.write_bytes(content[:place] + bytes([content[place] ^ 0xA5]) + content[place + 1 :])
        outcome = check(path)
        assert isinstance(outcome, int) or outcome.startswith(str(path))


def check(path: Path) -> int | str:
    """Return the number of rows, or why there is none."""
    try:
        return tables.check(path, schema=tables.FACES)
    except WorkspaceError as error:
        return str(error)


def test_what_the_system_does_not_let_us_read_is_not_called_damaged(tmp_path: Path):
    path = tmp_path / "faces.parquet"
    path.symlink_to(path)

    with pytest.raises(OSError, match=r"faces\.parquet"):
        tables.check(path, schema=tables.FACES)
