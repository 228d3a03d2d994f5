"""The tables that stages hand to each other: Arrow schemas, atomic writes, reads that refuse another version.

Paths in tables are relative to the workspace when they lie inside it, absolute otherwise.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from deepfake_core import files
from deepfake_core.errors import MissingInput, WorkspaceError

VERSION = "1"
_VERSION_KEY = b"deepfake.version"
_NAME_KEY = b"deepfake.table"


def _schema(name: str, fields: Sequence[tuple[str, pa.DataType]], *, required: Sequence[str] = ()) -> pa.Schema:
    columns = [pa.field(column, kind, nullable=column not in required) for column, kind in fields]
    return pa.schema(columns, metadata={_NAME_KEY: name.encode(), _VERSION_KEY: VERSION.encode()})


VIDEOS = _schema(
    "videos",
    [
        ("video_id", pa.string()),  # <dataset>/<method>/<compression>/<name>, such as ffpp/Deepfakes/c23/183_253
        ("path", pa.string()),
        ("dataset", pa.string()),  # ffpp (YouTube faces) or dfd (DeepFakeDetection's actors)
        ("method", pa.string()),  # "original" or the manipulation
        ("compression", pa.string()),
        ("name", pa.string()),  # file stem, such as 183_253
        ("target", pa.string()),  # whose head is seen
        ("source", pa.string()),  # whose face or expression was put on it; null for originals
        ("label", pa.int8()),  # 0 original, 1 manipulated
        ("sha256", pa.string()),
        ("bytes", pa.int64()),
        ("codec", pa.string()),
        ("pix_fmt", pa.string()),
        ("rotation", pa.int16()),  # degrees
        ("width", pa.int32()),  # pixels
        ("height", pa.int32()),  # pixels
        ("fps", pa.float64()),
        ("frames", pa.int64()),
        ("duration", pa.float64()),  # seconds
        ("status", pa.string()),  # ok, unreadable, missing
        ("reason", pa.string()),
    ],
    required=("video_id", "path", "dataset", "method", "compression", "name", "target", "label", "status"),
)

SPLITS = _schema(
    "splits",
    [
        ("video_id", pa.string()),
        ("group", pa.string()),  # smallest person of the connected group, such as ffpp/183
        ("split", pa.string()),  # train, val, test
        ("collision", pa.string()),  # identities of other splits that share a YouTube id, comma-separated; else null
    ],
    required=("video_id", "group", "split"),
)

EXTRACTIONS = _schema(
    "extractions",
    [
        ("video_id", pa.string()),
        ("fingerprint", pa.string()),
        ("frames_decoded", pa.int64()),
        ("frames_sampled", pa.int64()),
        ("faces", pa.int64()),
        ("no_face", pa.int64()),
        ("jumps", pa.int64()),  # times the followed face was lost and another taken
        ("status", pa.string()),  # ok, no_face, unreadable, timeout, crashed
        ("reason", pa.string()),
        ("digest", pa.string()),  # SHA-256 of the faces file; null where there is none
    ],
    required=("video_id", "fingerprint", "status"),
)

_FACE_FIELDS: list[tuple[str, pa.DataType]] = [
    ("video_id", pa.string()),
    ("frame", pa.int32()),  # index in display order
    ("seconds", pa.float64()),
    ("track", pa.int16()),
    ("x1", pa.float32()),  # the detector's box, in pixels of the frame, before margin and squaring
    ("y1", pa.float32()),
    ("x2", pa.float32()),
    ("y2", pa.float32()),
    ("confidence", pa.float32()),
    ("landmarks", pa.list_(pa.float32())),  # x, y of five points, ten numbers; null where the detector has none
    ("box_source", pa.string()),  # detected, interpolated
    ("sharpness", pa.float32()),  # variance of the Laplacian of the grey crop
    ("width", pa.int32()),  # of the frame, in pixels
    ("height", pa.int32()),
    ("status", pa.string()),  # ok, no_face
    ("reason", pa.string()),
]

FACES = _schema("faces", [*_FACE_FIELDS, ("jpeg", pa.binary())], required=("video_id", "frame", "status"))
FACES_INDEX = _schema("faces_index", _FACE_FIELDS, required=("video_id", "frame", "status"))

PREDICTIONS = _schema(
    "predictions",
    [
        ("onnx_sha256", pa.string()),
        ("video_id", pa.string()),
        ("method", pa.string()),
        ("compression", pa.string()),
        ("name", pa.string()),
        ("group", pa.string()),
        ("label", pa.int8()),
        ("frames", pa.list_(pa.int32())),  # frame indices
        ("frame_logits", pa.list_(pa.float32())),  # one a frame
        ("score", pa.float64()),  # the video's; null where there is no face
        ("verdict", pa.string()),
    ],
    required=("onnx_sha256", "video_id", "method", "compression", "name", "group", "label", "verdict"),
)

SCORES = _schema(
    "scores",
    [
        ("video", pa.string()),  # path as given or found
        ("sha256", pa.string()),
        ("status", pa.string()),  # scored, no_face, unreadable, timeout
        ("reason", pa.string()),
        ("frames_sampled", pa.int64()),
        ("frames_scored", pa.int64()),
        ("score", pa.float64()),  # probability of manipulated
        ("verdict", pa.string()),  # original, manipulated, undecidable
        ("threshold", pa.float64()),
        ("model_name", pa.string()),
        ("model_version", pa.string()),
        ("onnx_sha256", pa.string()),
    ],
    required=("video", "status", "verdict"),
)

FRAME_SCORES = _schema(
    "frame_scores",
    [
        ("video", pa.string()),
        ("sha256", pa.string()),
        ("frame", pa.int32()),
        ("seconds", pa.float64()),
        ("logit", pa.float32()),
        ("probability", pa.float32()),
        ("x1", pa.float32()),
        ("y1", pa.float32()),
        ("x2", pa.float32()),
        ("y2", pa.float32()),
    ],
    required=("video", "frame"),
)

SCORED_FACES = _schema(
    "scored_faces",  # what scoring keeps of one video
    [
        ("frame", pa.int32()),
        ("seconds", pa.float64()),
        ("logit", pa.float32()),  # null where the frame shows no face
        ("x1", pa.float32()),
        ("y1", pa.float32()),
        ("x2", pa.float32()),
        ("y2", pa.float32()),
        ("decoded", pa.bool_()),  # false where the file is damaged
        ("reason", pa.string()),  # why there is no face
        ("jpeg", pa.binary()),  # of the most suspicious face alone
    ],
    required=("frame",),
)

QUALITY = _schema(
    "quality",
    [
        ("suite", pa.string()),
        ("grain", pa.string()),  # what a row of the checked table is: faces, videos, groups, splits, dataset
        ("check", pa.string()),  # the expectation's description
        ("expectation", pa.string()),  # Great Expectations' type
        ("column", pa.string()),
        ("severity", pa.string()),  # critical, warning, info
        ("passed", pa.bool_()),
        ("observed", pa.string()),
        ("threshold", pa.string()),
        ("value", pa.float64()),  # the worst value, where the column is a number
        ("rows", pa.int64()),
        ("rows_outside", pa.int64()),
        ("examples", pa.string()),  # up to three culprits and what is wrong with each, semicolon-separated; else null
        ("notes", pa.string()),
        ("advice", pa.string()),
    ],
    required=("suite", "grain", "check", "expectation", "severity", "passed"),
)


def from_rows(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Return rows as a table of ``schema``; keys that a row lacks are null."""
    return pa.Table.from_pylist([dict(row) for row in rows], schema=schema)


def write(path: Path, table: pa.Table, *, schema: pa.Schema) -> None:
    """Write ``table`` to ``path`` atomically; equal tables give equal bytes.

    A ``jpeg`` column is stored as it is: neither compressed again nor put into a dictionary.
    """
    table = table.select(schema.names).cast(schema).replace_schema_metadata(schema.metadata)
    with files.replacing(path) as temporary:
        pq.write_table(table, temporary, **_layout(schema))


@contextmanager
def growing(path: Path, *, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
    """Yield a writer to which parts of a table are added; ``path`` appears, complete, when the block ends.

    For tables that should not be in memory as a whole. Each part becomes a row group.
    """
    with files.replacing(path) as temporary, pq.ParquetWriter(temporary, schema, **_layout(schema)) as writer:
        yield writer


def _layout(schema: pa.Schema) -> dict[str, Any]:
    plain = {"jpeg"} & set(schema.names)
    return {
        "compression": {name: "none" if name in plain else "zstd" for name in _leaves(schema)},
        "use_dictionary": [name for name in schema.names if pa.types.is_string(schema.field(name).type)],
        "write_statistics": [name for name in schema.names if name not in plain],
    }


def read(path: Path, *, schema: pa.Schema, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a table.

    Raises:
        MissingInput: there is no such file.
        WorkspaceError: it is damaged, another table, or of another version.
    """
    check(path, schema=schema)
    return pq.read_table(path, columns=list(columns) if columns else None, partitioning=None)


def check(path: Path, *, schema: pa.Schema) -> int:
    """Read only the footer of a table; return its number of rows.

    Raises:
        MissingInput: there is no such file.
        WorkspaceError: it is damaged, another table, or of another version.
        OSError: the system does not let it be read.
    """
    try:
        footer = pq.ParquetFile(path)
    except FileNotFoundError:
        message = f"{path} does not exist; the stage that writes it has not run."
        raise MissingInput(message) from None
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        # A footer that makes no sense is an OSError too, without a number: those with one are the system's, and name
        # the file themselves (no permission, a failing disk). It may be whole, so nobody is told to delete it.
        if getattr(error, "errno", None):
            raise
        message = f"{path} is damaged ({error}). Delete it and run the stage that writes it again."
        raise WorkspaceError(message) from None
    with footer:
        found = footer.schema_arrow.metadata or {}
        wanted = schema.metadata
        for key, what in ((_NAME_KEY, "table"), (_VERSION_KEY, "version")):
            if found.get(key) != wanted[key]:
                seen = found.get(key, b"none").decode(errors="replace")
                message = (
                    f"{path}: expected {what} {wanted[key].decode()!r}, found {seen!r}. "
                    "It was written by another version of the platform: delete it and run its stage again."
                )
                raise WorkspaceError(message)
        return int(footer.metadata.num_rows)


def _leaves(schema: pa.Schema) -> list[str]:
    return [f"{field.name}.list.element" if pa.types.is_nested(field.type) else field.name for field in schema]
