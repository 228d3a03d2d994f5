"""Write the faces as TFRecord shards: each face exactly once, shuffled, the same for the same seed.

A face is hashed to its shard and to its place inside it, so no list of a million images is ever shuffled in memory,
and neither the number of workers nor the order in which videos are read changes one byte. The notebook re-reads a
shuffled pipeline for every shard instead, which loses about 37 % of the images and writes others up to eight times.

Reads the tables of videos, splits and extractions and the faces files; writes ``records/<split>/*.tfrecord`` and,
last of all, ``records/index.json``. ``records_check.py`` proves the result.
"""

import errno
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf

from deepfake_core import files, receipts, tables
from deepfake_core.config import RecordsConfig
from deepfake_core.data.extraction_spec import read_extraction_spec
from deepfake_core.data.face_files import FaceFile, list_face_files, refuse_missing_files
from deepfake_core.data.pace import in_bytes
from deepfake_core.data.records_check import verify_records
from deepfake_core.data.records_index import (
    RecordsIndex,
    Shard,
    SplitRecords,
    shards_are_whole,
    write_index,
)
from deepfake_core.data.shards import Spill, Target, in_threads
from deepfake_core.data.split import refuse_torn_groups
from deepfake_core.errors import SplitError, WorkspaceError
from deepfake_core.progress import SILENT, Progress
from deepfake_core.report import Cell, StageReport
from deepfake_core.workspace import SPLITS, Workspace

__all__ = ["verify_records", "write_records"]

SPARE_BYTES = 64 << 20
"""Free space that must be left beyond what the shards take."""


def write_records(workspace: Workspace, *, config: RecordsConfig, progress: Progress = SILENT) -> StageReport:
    """Write every face of every split into its shard.

    Args:
        workspace: holds the tables and the faces; receives ``records/``.
        config: number of shards a split, seed and number of threads.
        progress: shows faces read and shards written.

    Returns:
        Faces by split and class.

    Raises:
        TornGroupError: a group of people stands in two splits.
        SplitError: a split holds no face at all.
        StaleInput: a faces file is not what extraction wrote.
        WorkspaceError: the disk is full or cannot be written.
    """
    with receipts.open_stage(workspace, "records", config=config) as work:
        spill = Spill(workspace.records, fingerprint=work.fingerprint)
        if work.found and shards_are_whole(workspace):
            spill.remove()
            return work.found
        splits = tables.read(workspace.splits_table, schema=tables.SPLITS)
        refuse_torn_groups(splits)
        spec = read_extraction_spec(workspace)
        everything = list_face_files(workspace, splits)
        face_files = [face_file for face_file in everything if face_file.split is not None]
        _refuse_empty_splits(face_files)
        targets = _list_targets(workspace, config.shards)
        refuse_missing_files(workspace, face_files)
        try:
            shards = _write_shards(workspace, face_files, targets, spill, config=config, progress=progress)
        except (OSError, tf.errors.OpError) as error:
            message = f"cannot write the records below {workspace.records}: {error}. {_advice(error)}"
            raise WorkspaceError(message) from error
        index = RecordsIndex.of(seed=config.seed or 0, spec=spec, splits=_by_split(face_files, targets, shards))
        write_index(workspace, index)
        report = work.finish(_report(workspace, index, face_files, everything), outputs=[workspace.records_index])
        spill.remove()
        return report


def _write_shards(
    workspace: Workspace,
    face_files: Sequence[FaceFile],
    targets: Sequence[Target],
    spill: Spill,
    *,
    config: RecordsConfig,
    progress: Progress,
) -> list[Shard]:
    workers = config.workers or os.cpu_count() or 1
    workspace.records_index.unlink(missing_ok=True)
    resumed = spill.complete(targets)
    _sweep(workspace.records, spill, keep=[target.path for target in targets if resumed and spill.finished(target)])
    if not resumed:
        spill.remove()  # or its room would be missed
        _refuse_small_disk(workspace, face_files, shards=config.shards, workers=workers)
        spill.fill(workspace, face_files, targets, seed=config.seed or 0, workers=workers, progress=progress)
    with progress.bar("write shards", total=len(targets), unit="shards") as bar:
        for _ in in_threads(spill.write_shard, targets, workers=workers):
            bar.advance()
    return [spill.write_shard(target) for target in targets]


def _list_targets(workspace: Workspace, shards: Sequence[int]) -> list[Target]:
    paths = [
        (split, number, workspace.records / split / f"{number:05d}-of-{count:05d}.tfrecord")
        for split, count in zip(SPLITS, shards, strict=True)
        for number in range(count)
    ]
    return [Target(split, number, path, workspace.relative(path)) for split, number, path in paths]


def _refuse_empty_splits(face_files: Sequence[FaceFile]) -> None:
    faces = Counter[str | None]()
    for face_file in face_files:
        faces[face_file.split] += face_file.faces
    if empty := [split for split in SPLITS if not faces[split]]:
        held = ", ".join(f"{split} {faces[split]}" for split in SPLITS)
        message = (
            f"no face is in {' and '.join(repr(split) for split in empty)} (faces: {held}). Use other split lists or "
            "counts, or look into the table of extractions for why its videos gave no face."
        )
        raise SplitError(message)


def _refuse_small_disk(
    workspace: Workspace, face_files: Sequence[FaceFile], *, shards: Sequence[int], workers: int
) -> None:
    """Refuse a disk that would fill up: every face stands there once more, and twice while its shard is copied."""
    sizes = Counter[str | None]()
    for face_file in face_files:
        sizes[face_file.split] += workspace.faces_of(face_file.video_id).stat().st_size
    longest = max(sizes[split] / count for split, count in zip(SPLITS, shards, strict=True))
    needed = sizes.total() + round(min(workers, sum(shards)) * longest) + SPARE_BYTES
    free = shutil.disk_usage(workspace.records).free
    if free < needed:
        message = (
            f"the records need about {in_bytes(needed)}, the disk of {workspace.records} has {in_bytes(free)} free. "
            "Free space, or put the workspace on a larger disk."
        )
        raise WorkspaceError(message)


def _advice(error: Exception) -> str:
    """Say what helps against an error of the disk."""
    number = error.errno if isinstance(error, OSError) else None
    if number in {errno.ENOSPC, errno.EDQUOT} or isinstance(error, tf.errors.ResourceExhaustedError):
        return "Free the disk and run it again."
    if number == errno.EMFILE:
        return "Every shard is a file that stays open: raise the limit (ulimit -n), or set fewer records.shards."
    return "Mend it and run it again."


def _sweep(records: Path, spill: Spill, *, keep: Sequence[Path]) -> None:
    """Remove what killed runs, other configurations and other inputs left behind."""
    records.mkdir(parents=True, exist_ok=True)
    files.sweep_temporaries(records)
    for folder in records.glob(".spill-*"):
        if folder != spill.folder:
            shutil.rmtree(folder)
    for shard in set(records.glob("*/*.tfrecord")) - set(keep):
        shard.unlink()


def _by_split(
    face_files: Sequence[FaceFile], targets: Sequence[Target], shards: Sequence[Shard]
) -> dict[str, SplitRecords]:
    parts = {}
    for split in SPLITS:
        held = [face_file for face_file in face_files if face_file.split == split]
        classes = {str(label): sum(f.faces for f in held if f.label == label) for label in (0, 1)}
        parts[split] = SplitRecords(
            faces=sum(classes.values()),
            classes=classes,
            groups=tuple(sorted({face_file.group for face_file in held})),
            shards=tuple(shard for target, shard in zip(targets, shards, strict=True) if target.split == split),
        )
    return parts


def _report(
    workspace: Workspace, index: RecordsIndex, face_files: Sequence[FaceFile], everything: Sequence[FaceFile]
) -> StageReport:
    rows: list[dict[str, Cell]] = []
    notes = []
    for split, part in index.splits.items():
        videos = sum(face_file.split == split for face_file in face_files)
        empty = sum(not shard.faces for shard in part.shards)
        rows.append(
            {
                "split": split,
                "original": part.classes["0"],
                "manipulated": part.classes["1"],
                "faces": part.faces,
                "videos": videos,
                "groups": len(part.groups),
                "shards": len(part.shards),
                "bytes": sum(shard.bytes for shard in part.shards),
            }
        )
        if empty:
            notes.append(f"{empty} of {len(part.shards)} {split} shards are empty: {part.faces} faces are too few")
    if outside := [face_file for face_file in everything if face_file.split is None]:
        notes.append(
            f"{sum(f.faces for f in outside)} faces of {len(outside)} videos are in no split and were left out"
        )
    shards = sum(len(part.shards) for part in index.splits.values())
    faces = sum(part.faces for part in index.splits.values())
    return StageReport(
        stage="records",
        counts={"faces": faces, "videos": len(face_files), "shards": shards},
        notes=tuple(notes),
        table=tuple(rows),
        outputs={"records": str(workspace.records), "index": str(workspace.records_index)},
    )
