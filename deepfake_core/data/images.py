"""Export face crops as a folder of JPEG files, for people who want to look.

``<directory>/<method>/<compression>/<name>/<frame>.jpg``: the notebook's images, with the video's name in place of a
running number. The files are the bytes that training sees. Nothing reads them back.
"""

from pathlib import Path

import pyarrow.parquet as pq

from deepfake_core import files, receipts, tables
from deepfake_core.errors import DeepfakeError
from deepfake_core.progress import SILENT, Progress, track
from deepfake_core.report import StageReport
from deepfake_core.workspace import Workspace


def export_images(workspace: Workspace, directory: Path, progress: Progress = SILENT) -> StageReport:
    """Write every extracted crop to a JPEG file of its own below ``directory``.

    Raises:
        MissingInput, StaleInput: the faces were not extracted, or not from today's videos.
        DeepfakeError: the directory cannot be written.
    """
    receipts.require_done(workspace, "extract")
    columns = ["video_id", "method", "compression", "name"]
    videos = tables.read(workspace.videos_table, schema=tables.VIDEOS, columns=columns).to_pylist()
    images = 0
    for video in track(videos, progress, "export images", total=len(videos), unit="videos"):
        source = workspace.faces_of(video["video_id"])
        if source.is_file():
            images += _export(source, directory / video["method"] / video["compression"] / video["name"])
    return StageReport(
        stage="extract",
        counts={"videos": len(videos), "images": images},
        outputs={"images": str(directory)},
    )


def _export(source: Path, folder: Path) -> int:
    """Write the crops of one faces file, and remove those of another sampling; return how many were written."""
    written: set[Path] = set()
    tables.check(source, schema=tables.FACES)
    with pq.ParquetFile(source) as faces:
        for part in faces.iter_batches(batch_size=64, columns=["frame", "status", "jpeg"]):
            for row in part.to_pylist():
                if row["status"] != "ok":
                    continue
                path = folder / f"{row['frame']:06d}.jpg"
                try:
                    files.write_bytes(path, row["jpeg"], durable=False)
                except OSError as error:
                    message = f"cannot write {path}: {error.strerror or error}."
                    raise DeepfakeError(message) from error
                written.add(path)
    for path in set(folder.glob("[0-9]*.jpg")) - written:
        path.unlink()
    return len(written)
