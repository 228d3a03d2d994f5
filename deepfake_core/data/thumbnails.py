"""Small pictures of faces for reports, read from the per-video files."""

import cv2
import numpy as np
import pyarrow as pa

from deepfake_core import tables
from deepfake_core.data.culprits import Place
from deepfake_core.errors import MissingInput, WorkspaceError
from deepfake_core.workspace import Workspace

SIDE = 144
"""Of a thumbnail, in pixels."""
QUALITY = 82


def read_thumbnail(workspace: Workspace, place: Place) -> bytes | None:
    """Return the face at ``place`` as a small JPEG; None where it cannot be read: a report shows what there is."""
    try:
        faces = tables.read(
            workspace.faces_of(place.video_id), schema=tables.FACES, columns=["frame", "status", "jpeg"]
        )
    except (MissingInput, WorkspaceError, OSError, pa.ArrowException):
        return None
    rows = [row for row, status in enumerate(faces["status"].to_pylist()) if status == "ok"]
    if place.frame is not None:
        frames = faces["frame"].to_pylist()
        rows = [row for row in rows if frames[row] == place.frame]
    return _shrink(faces["jpeg"][rows[len(rows) // 2]].as_py()) if rows else None


def _shrink(jpeg: bytes | None) -> bytes | None:
    pixels = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR) if jpeg else None
    if pixels is None:
        return None
    height, width = pixels.shape[:2]
    factor = min(1.0, SIDE / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return bytes(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1])
