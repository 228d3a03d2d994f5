"""Extract the faces of every video: one Parquet file a video, a row a sampled frame.

Reads the videos table. Writes ``faces/<video_id>.parquet`` (``tables.FACES``), the extractions table, and
``faces.parquet``, an index of all faces without their images.

Every faces file carries the fingerprint of what decided it: the bytes of the video, the face and detector specs, the
sampling, and the version of this code. So a killed run goes on where it stopped, and a change of configuration makes
again exactly the files that it touches. A video that cannot be read is remembered as *unreadable* until its bytes
change; one that is *missing*, was stopped at a limit, or whose worker died, is tried again by the next run.

``extract_faces`` is the whole stage. A flow that spreads it over tasks calls ``plan_extraction``, ``extract_shard`` for
each shard, then ``collect_extraction``.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

from deepfake_core import files, receipts, tables
from deepfake_core.config import ExtractConfig
from deepfake_core.data.extraction import (
    Row,
    VideoJob,
    WorkerSetup,
    extract_video,
    open_detector,
    read_extraction,
    write_failure,
)
from deepfake_core.data.extraction_spec import ExtractionSpec, schema_with_spec
from deepfake_core.data.images import export_images
from deepfake_core.errors import MissingInput, WorkspaceError
from deepfake_core.faces.weights import resolve_weights
from deepfake_core.faces.workers import Outcome, supervise
from deepfake_core.progress import SILENT, Progress, track
from deepfake_core.report import Cell, StageReport
from deepfake_core.specs import SamplingSpec
from deepfake_core.stages import stage_named
from deepfake_core.workspace import Workspace

__all__ = ["collect_extraction", "export_images", "extract_faces", "extract_shard", "plan_extraction"]

STAGE = "extract"
TRIED_AGAIN = ("missing", "timeout", "crashed")
_STATUS = {"failed": "unreadable", "timeout": "timeout", "memory": "crashed", "crashed": "crashed"}
_VIDEO_COLUMNS = ("video_id", "path", "method", "compression", "sha256", "bytes", "status", "reason")


def extract_faces(workspace: Workspace, *, config: ExtractConfig, progress: Progress = SILENT) -> StageReport:
    """Find, follow and crop the main face of every sampled frame of every video.

    Args:
        workspace: holds the videos table; receives faces, extractions table and index.
        config: detector, crop, sampling, workers and limits.
        progress: one bar over the videos, one over the files of the index.

    Returns:
        Counts of videos, sampled frames, faces and frames without a face; ``failed`` counts the videos that gave none
        because they are unreadable or missing, hit a limit or killed their worker.

    Raises:
        MissingInput, StaleInput: the videos are not there.
        WeightsError: the detector's weights are not to be had.
        DeepfakeError: the workspace cannot be written.
    """
    with receipts.open_stage(workspace, STAGE, config=config) as work:
        if work.found and _is_whole(workspace):
            return work.found
        extraction = _Extraction(workspace, config)
        todo = extraction.unfinished()
        if todo:
            extraction.refuse_empty_disk()
        extraction.run(todo, progress)
        report = extraction.collect(progress)
        kept = len(extraction.readable) - len(todo)
        if kept and todo:
            note = f"{kept} videos were already done, {len(todo)} were made now"
            report = report.model_copy(update={"notes": (note, *report.notes)})
        return work.finish(report, outputs=[workspace.extractions_table, workspace.faces_index])


def plan_extraction(workspace: Workspace, *, config: ExtractConfig) -> tuple[tuple[str, ...], ...]:
    """Return the ids of the videos still to do, in shards of ``config.shard_videos``; empty when none is left.

    Raises:
        MissingInput, StaleInput: the videos are not there.
        WeightsError: the detector's weights are not to be had.
    """
    with receipts.open_stage(workspace, STAGE, config=config) as work:
        if work.found and _is_whole(workspace):
            return ()
        todo = _Extraction(workspace, config).unfinished()
    size = config.shard_videos
    return tuple(tuple(todo[start : start + size]) for start in range(0, len(todo), size))


def extract_shard(
    workspace: Workspace, *, config: ExtractConfig, video_ids: Sequence[str], progress: Progress = SILENT
) -> StageReport:
    """Extract the faces of some videos; ``collect_extraction`` makes the tables when all shards are done.

    Raises:
        MissingInput: an id is not that of a readable video.
        DeepfakeError: the workspace cannot be written.
    """
    extraction = _Extraction(workspace, config)
    unknown = [video_id for video_id in video_ids if video_id not in extraction.readable]
    if unknown:
        message = f"the videos table has no readable video {unknown[0]!r} ({len(unknown)} such ids). Plan again."
        raise MissingInput(message)
    return extraction.report(extraction.run(video_ids, progress))


def collect_extraction(workspace: Workspace, *, config: ExtractConfig, progress: Progress = SILENT) -> StageReport:
    """Make the extractions table and the index from the faces files of all shards, and finish the stage.

    Raises:
        MissingInput: a video was not extracted yet.
    """
    with receipts.open_stage(workspace, STAGE, config=config) as work:
        if work.found and _is_whole(workspace):
            return work.found
        report = _Extraction(workspace, config).collect(progress)
        return work.finish(report, outputs=[workspace.extractions_table, workspace.faces_index])


class _Extraction:
    """The videos, and what decides how their faces look."""

    def __init__(self, workspace: Workspace, config: ExtractConfig) -> None:
        receipts.require_done(workspace, "download")
        self.workspace = workspace
        self.config = config
        self.weights, sha256 = resolve_weights(config.detector, folder=workspace.weights)
        self.spec = config.detector.spec(sha256)
        self.before = _Before(workspace)
        table = tables.read(workspace.videos_table, schema=tables.VIDEOS, columns=_VIDEO_COLUMNS)
        self.videos: dict[str, Row] = {row["video_id"]: row for row in table.to_pylist()}
        self.readable = {key: row for key, row in self.videos.items() if row["status"] == "ok"}

    def unfinished(self) -> list[str]:
        """Remove what a killed run left half written; return the ids of the videos that are still to do."""
        files.sweep_temporaries(self.workspace.faces)
        return [video_id for video_id in self.readable if not self._is_finished(video_id)]

    def refuse_empty_disk(self) -> None:
        """Refuse to begin where not one of the videos is there, those that are done included.

        Raises:
            MissingInput: most likely their disk is not mounted.
        """
        paths = [self.workspace.resolve(video["path"]) for video in self.readable.values()]
        if paths and not any(path.exists() for path in paths):
            message = (
                f"none of the {len(paths)} videos is there (the first: {paths[0]}). Is their disk mounted? "
                f"If they were moved, run: deepfake download --workspace {self.workspace.root}"
            )
            raise MissingInput(message)

    def run(self, video_ids: Sequence[str], progress: Progress) -> list[Row]:
        """Write the faces files of some videos in worker processes; return their rows."""
        if not video_ids:
            return []
        outcomes = supervise(
            ((video_id, self._job(video_id)) for video_id in video_ids),
            function=extract_video,
            setup=open_detector,
            setup_argument=WorkerSetup(self.config, self.spec, self.weights),
            workers=min(self.config.workers or os.cpu_count() or 1, len(video_ids)),
            seconds_per_job=self.config.seconds_per_video,
            memory_mb=self.config.memory_mb,
        )
        shown = track(outcomes, progress, "extract faces", total=len(video_ids), unit="videos")
        return [self._row_of(outcome) for outcome in shown]

    def collect(self, progress: Progress) -> StageReport:
        """Write the extractions table and the index from the faces files.

        Raises:
            MissingInput: a readable video has no faces file of this configuration.
        """
        files.sweep_temporaries(self.workspace.faces)  # of workers that were stopped
        rows = self._all_rows()
        made = [row for row in rows if row["video_id"] in self.readable]
        paths = [self.workspace.faces_of(row["video_id"]) for row in made]
        parts: list[pa.Table] = [tables.FACES_INDEX.empty_table()]
        with ThreadPoolExecutor() as readers:
            indexed = readers.map(_digest_and_index, paths)
            shown = track(indexed, progress, "index faces", total=len(paths), unit="videos")
            for row, (digest, part) in zip(made, shown, strict=True):
                row["digest"] = digest
                parts.append(part)
        tables.write(self.workspace.faces_index, pa.concat_tables(parts), schema=tables.FACES_INDEX)
        table = tables.from_rows(rows, tables.EXTRACTIONS)
        spec = ExtractionSpec(face=self.config.face, detector=self.spec, sampling=self._sampling())
        tables.write(self.workspace.extractions_table, table, schema=schema_with_spec(spec))
        return self.report(rows)

    def report(self, rows: Sequence[Row]) -> StageReport:
        """Count what became of some videos."""
        failed = [row for row in rows if row["status"] not in ("ok", "no_face")]
        return StageReport(
            stage=STAGE,
            counts={"videos": len(rows), **_sums(rows)},
            failed=len(failed),
            notes=_reasons(failed),
            table=self._by_method(rows),
            outputs={"faces": str(self.workspace.faces), "index": str(self.workspace.faces_index)},
        )

    def _is_finished(self, video_id: str) -> bool:
        path, fingerprint = self.workspace.faces_of(video_id), self._fingerprint(video_id)
        row = read_extraction(path)
        return (
            row is not None
            and row["fingerprint"] == fingerprint
            and row["status"] not in TRIED_AGAIN
            and self.before.left_alone(video_id, fingerprint, path)
        )

    def _fingerprint(self, video_id: str) -> str:
        video, sampling = self.videos[video_id], self.config.sampling
        return receipts.fingerprint_of(
            inputs={"video": video["sha256"] or ""},
            config={
                "face": self.config.face.fingerprint_values(),
                "detector": self.spec.fingerprint_values(),
                "step": sampling.step,
                "offset": sampling.offset_of(video["compression"]),
                "max_frames": sampling.max_frames,
            },
            schema_version=stage_named(STAGE).schema,
        )

    def _sampling(self) -> SamplingSpec:
        """Return how these videos were sampled: an offset of a compression that none has changes nothing."""
        sampling = self.config.sampling
        offsets = {name: sampling.offset_of(name) for name in sorted({v["compression"] for v in self.videos.values()})}
        return sampling.model_copy(update={"offsets": {name: first for name, first in offsets.items() if first}})

    def _job(self, video_id: str) -> VideoJob:
        video = self.videos[video_id]
        return VideoJob(
            video_id=video_id,
            path=self.workspace.resolve(video["path"]),
            bytes=video["bytes"],
            offset=self.config.sampling.offset_of(video["compression"]),
            fingerprint=self._fingerprint(video_id),
            output=self.workspace.faces_of(video_id),
        )

    def _row_of(self, outcome: Outcome) -> Row:
        if outcome.status == "ok":
            row: Row = outcome.value
            return row
        return write_failure(self._job(outcome.key), status=_STATUS[outcome.status], reason=outcome.reason)

    def _all_rows(self) -> list[Row]:
        """Return an extractions row for every video, in the order of the videos table, digests still missing."""
        rows = [self._known_row(video_id) for video_id in self.videos]
        missing = [video_id for video_id, row in zip(self.videos, rows, strict=True) if row is None]
        if missing:
            message = (
                f"{len(missing)} videos were not extracted yet with this configuration (the first: {missing[0]}). "
                f"Run: deepfake extract --workspace {self.workspace.root}"
            )
            raise MissingInput(message)
        return [row for row in rows if row is not None]

    def _known_row(self, video_id: str) -> Row | None:
        fingerprint = self._fingerprint(video_id)
        if video_id in self.readable:
            row = read_extraction(self.workspace.faces_of(video_id))
            return row if row is not None and row["fingerprint"] == fingerprint else None
        video = self.videos[video_id]
        reason = f"{video['status']}: {video['reason']}" if video["status"] != "unreadable" else video["reason"]
        zero = dict.fromkeys(("frames_decoded", "frames_sampled", "faces", "no_face", "jumps"), 0)
        return zero | {"video_id": video_id, "fingerprint": fingerprint, "status": "unreadable", "reason": reason}

    def _by_method(self, rows: Iterable[Row]) -> tuple[dict[str, Cell], ...]:
        parts: dict[tuple[str, str], list[Row]] = defaultdict(list)
        for row in rows:
            video = self.videos[row["video_id"]]
            parts[video["method"], video["compression"]].append(row)
        return tuple(
            {
                "method": method,
                "compression": compression,
                "videos": len(part),
                **_sums(part),
                "failed": sum(row["status"] not in ("ok", "no_face") for row in part),
            }
            for (method, compression), part in sorted(parts.items())
        )


class _Before:
    """What the extractions table of an earlier run knows of the faces files.

    To hash a million faces whenever somebody asks whether they are there would take minutes, so a file is hashed only
    where it is younger than the table: somebody wrote to it, or it was copied, and only then can it be another one.
    """

    def __init__(self, workspace: Workspace) -> None:
        self.rows: dict[str, Row] = {}
        self._written = 0
        with suppress(MissingInput, WorkspaceError):  # none, or one of an older version: nothing is known
            columns = ["video_id", "fingerprint", "status", "digest"]
            table = tables.read(workspace.extractions_table, schema=tables.EXTRACTIONS, columns=columns)
            self.rows = {row["video_id"]: row for row in table.to_pylist()}
            self._written = workspace.extractions_table.stat().st_mtime_ns

    def left_alone(self, video_id: str, fingerprint: str, path: Path) -> bool:
        """Say whether a faces file still holds the bytes that were written; True where nobody knows these."""
        row = self.rows.get(video_id)
        if row is None or row["digest"] is None or row["fingerprint"] != fingerprint or row["status"] in TRIED_AGAIN:
            return True
        return path.stat().st_mtime_ns <= self._written or files.sha256_of_file(path) == row["digest"]


def _is_whole(workspace: Workspace) -> bool:
    """Say whether a finished extraction still has all of its faces files, and none that is worth another try."""
    tables.check(workspace.extractions_table, schema=tables.EXTRACTIONS)
    before = _Before(workspace)
    paths = {video_id: workspace.faces_of(video_id) for video_id, row in before.rows.items() if row["digest"]}
    return all(row["status"] not in TRIED_AGAIN for row in before.rows.values()) and all(
        path.is_file() and before.left_alone(video_id, before.rows[video_id]["fingerprint"], path)
        for video_id, path in paths.items()
    )


def _digest_and_index(path: Path) -> tuple[str, pa.Table]:
    """Return the digest of a faces file and its rows without the images."""
    columns = tables.FACES_INDEX.names
    part = tables.read(path, schema=tables.FACES, columns=columns)
    return files.sha256_of_file(path), part.cast(tables.FACES_INDEX)


def _sums(rows: Sequence[Row]) -> dict[str, int]:
    return {name: sum(row[name] for row in rows) for name in ("frames_sampled", "faces", "no_face")}


def _reasons(failed: Sequence[Row]) -> tuple[str, ...]:
    """Return a line for each kind of failure: how many videos, the first of them, and its reason."""
    kinds: dict[str, list[Row]] = defaultdict(list)
    for row in failed:
        kinds[row["status"]].append(row)
    counted = Counter(row["status"] for row in failed)
    return tuple(
        f"{count} {status}, such as {kinds[status][0]['video_id']}: {kinds[status][0]['reason']}"
        for status, count in counted.most_common()
    )
