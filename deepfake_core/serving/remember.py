"""What scoring keeps of each video, so that a killed run goes on where it stopped and nothing is scored twice.

One Parquet file (``tables.SCORED_FACES``) a model and content: ``<folder>/<model digest>/<video digest>.parquet``,
a row for every sampled frame. It is written whole or not at all, and only for videos that were read to their end:
what failed is tried again by the next run, because the cause may lie in the machine.
"""

from pathlib import Path

import pyarrow as pa

from deepfake_core import tables
from deepfake_core.errors import MissingInput, WorkspaceError

_DIGITS = 16


class Memory:
    """The finished videos of one model.

    Args:
        folder: of all models.
        onnx_sha256: digest of the model's file.
    """

    def __init__(self, folder: Path, *, onnx_sha256: str) -> None:
        self.folder = folder / onnx_sha256[:_DIGITS]

    def path_of(self, sha256: str) -> Path:
        """Return where the faces of the video with this digest are kept."""
        return self.folder / f"{sha256}.parquet"

    def holds(self, sha256: str) -> bool:
        """Say whether a video is finished; a damaged file, or one of another version, is not."""
        try:
            tables.check(self.path_of(sha256), schema=tables.SCORED_FACES)
        except (MissingInput, WorkspaceError):
            return False
        return True

    def keep(self, sha256: str, faces: pa.Table, *, scratch: Path) -> None:
        """Keep the scored faces of a video: ``tables.SCORED_FACES``.

        The file grows in ``scratch``, a folder below this memory's, and moves here when it is whole: what a kill
        leaves half written is swept with the scratch folder, and never takes anything from another run.
        """
        path = self.path_of(sha256)
        growing = scratch / f"scored-{path.name}"
        tables.write(growing, faces, schema=tables.SCORED_FACES)
        growing.replace(path)

    def faces_of(self, sha256: str) -> pa.Table:
        """Return the faces of a finished video, without images."""
        columns = [name for name in tables.SCORED_FACES.names if name != "jpeg"]
        return tables.read(self.path_of(sha256), schema=tables.SCORED_FACES, columns=columns)

    def suspect_of(self, sha256: str) -> bytes | None:
        """Return the JPEG of the most suspicious face of a finished video, or None where it shows no face."""
        images = tables.read(self.path_of(sha256), schema=tables.SCORED_FACES, columns=["jpeg"])
        jpegs: list[bytes] = images["jpeg"].drop_null().to_pylist()
        return jpegs[0] if jpegs else None
