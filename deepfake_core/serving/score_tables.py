"""Score tables on disk: Parquet, CSV or JSON Lines by the suffix of the output, atomically, frames beside videos."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.csv

from deepfake_core import files, tables
from deepfake_core.errors import ConfigError

SUFFIXES = (".parquet", ".csv", ".jsonl")
_ROWS_A_BLOCK = 4096


def refuse_other_formats(output: Path) -> None:
    """Refuse an output that no table can be written to, before any work is done.

    Raises:
        ConfigError: another suffix than ``SUFFIXES``, or a folder.
    """
    if output.suffix not in SUFFIXES or output.is_dir():
        message = f"the output must be a file that ends in {', '.join(SUFFIXES)}. Received: {output}"
        raise ConfigError(message)


def frames_path(output: Path) -> Path:
    """Return where the frame scores go: ``scores.frames.csv`` beside ``scores.csv``."""
    return output.with_name(f"{output.stem}.frames{output.suffix}")


def write_table(path: Path, table: pa.Table, *, schema: pa.Schema) -> None:
    """Write a table in the format of the path's suffix; equal tables give equal bytes. Null is empty in CSV."""
    table = table.select(schema.names).cast(schema)
    if path.suffix == ".parquet":
        tables.write(path, table, schema=schema)
        return
    with files.replacing(path) as temporary:
        if path.suffix == ".csv":
            pa.csv.write_csv(table, temporary)
        else:
            _write_json_lines(temporary, table)


def _write_json_lines(path: Path, table: pa.Table) -> None:
    with path.open("w", encoding="utf-8") as stream:
        for block in table.to_batches(max_chunksize=_ROWS_A_BLOCK):
            stream.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in block.to_pylist())
