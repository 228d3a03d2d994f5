"""Score videos in batch: any videos and an exported model → a row for every video, with a verdict or a reason.

Videos are decoded, and their faces found and cropped, in supervised worker processes, by the code that made the
training data; how, is taken from the model's contract and never from configuration. The crops pass through a scratch
file to this process, which runs the model. A finished video is remembered by model and content: a killed run goes on
where it stopped, and equal work gives equal tables.
"""

import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from deepfake_core import tables
from deepfake_core.config import ScoreConfig
from deepfake_core.contract import ModelContract
from deepfake_core.faces.weights import find_weights
from deepfake_core.faces.workers import Outcome, supervise
from deepfake_core.progress import SILENT, Progress
from deepfake_core.report import StageReport
from deepfake_core.serving.ahead import read_ahead
from deepfake_core.serving.cropping import ROWS_HELD, CropJob, CropSetup, crop_video, open_cropper
from deepfake_core.serving.inputs import InputVideo, digest_videos, find_videos
from deepfake_core.serving.judge import Failure, judge_all
from deepfake_core.serving.remember import Memory
from deepfake_core.serving.score_report import write_report
from deepfake_core.serving.score_tables import frames_path, refuse_other_formats, write_table
from deepfake_core.serving.scratch import scratch_folder
from deepfake_core.serving.session import Scorer
from deepfake_core.workspace import Workspace

NOT_SCORED = ("no_face", "unreadable", "timeout")
_REASONS_SHOWN = 10
_ROWS_SHOWN = 30


def score_videos(
    paths: Sequence[Path],
    *,
    model: Path,
    output: Path,
    config: ScoreConfig,
    folder: Path,
    model_name: str | None = None,
    model_version: str | None = None,
    progress: Progress = SILENT,
) -> StageReport:
    """Score videos and write the tables of scores and frame scores, and a page for people.

    Args:
        paths: videos, and folders of videos; see ``inputs.find_videos``.
        model: the exported ONNX file.
        output: the table ``tables.SCORES``: Parquet, CSV or JSON Lines by its suffix. ``tables.FRAME_SCORES`` is
            written beside it as ``<stem>.frames.<suffix>``, the page as ``<stem>.html``.
        config: device, batch, workers and their limits.
        folder: where finished videos are remembered: ``workspace.scores``.
        model_name: in the registry; None for a bare file.
        model_version: in the registry; None for a bare file.
        progress: who is told.

    Returns:
        Counts by status and verdict. ``failed`` counts the videos without a score: they are rows with a reason.

    Raises:
        ConfigError: the output has another suffix, or there are no videos.
        ContractError, DeviceError: the model cannot be trusted, or not be run on the device.
        WeightsError: the detector that the model asks for is not at hand.
    """
    began = time.monotonic()
    refuse_other_formats(output)
    found = find_videos(paths)
    scorer = Scorer.open(model, device=config.device, batch=config.batch)
    videos = digest_videos(found, progress=progress)
    memory = Memory(folder, onnx_sha256=scorer.onnx_sha256)
    todo = _unfinished(videos, memory)
    # A workspace keeps verified weights beside its scores; a model that is handed on alone may have them beside it.
    weights_folders = [Workspace(folder.parent).weights, model.parent]
    failures: dict[str, Failure] = {}
    if todo:
        weights = find_weights(scorer.contract.detector, folders=weights_folders, given=config.weights)
        failures = _score_unfinished(
            todo, scorer=scorer, memory=memory, weights=weights, config=config, progress=progress
        )

    model_columns = {"model_name": model_name, "model_version": model_version, "onnx_sha256": scorer.onnx_sha256}
    rows, frames = judge_all(videos, failures, memory=memory, contract=scorer.contract)
    rows = [row | model_columns for row in rows]
    write_table(frames_path(output), frames, schema=tables.FRAME_SCORES)
    write_table(output, tables.from_rows(rows, tables.SCORES), schema=tables.SCORES)
    page = output.with_suffix(".html")
    write_report(page, rows, contract=scorer.contract, memory=memory)
    outputs = {"scores": str(output), "frame scores": str(frames_path(output)), "report": str(page)}
    return _report(rows, outputs=outputs, contract=scorer.contract, fresh=len(todo), seconds=time.monotonic() - began)


def _unfinished(videos: Sequence[InputVideo], memory: Memory) -> dict[str, Path]:
    """Return digest → path of what must be decoded: each content once, however many names it has."""
    todo: dict[str, Path] = {}
    for video in videos:
        if video.sha256 is not None and video.sha256 not in todo and not memory.holds(video.sha256):
            todo[video.sha256] = video.path
    return todo


def _score_unfinished(
    todo: Mapping[str, Path],
    *,
    scorer: Scorer,
    memory: Memory,
    weights: Path | None,
    config: ScoreConfig,
    progress: Progress,
) -> dict[str, Failure]:
    """Score videos into ``memory``; return digest → failure of those that could not be."""
    contract = scorer.contract
    setup = CropSetup(contract.face, contract.detector, contract.frame_step, weights, config.device)
    workers = min(config.workers or os.cpu_count() or 1, len(todo))
    failures: dict[str, Failure] = {}
    began = time.monotonic()
    with scratch_folder(memory.folder) as scratch, progress.bar("Score", total=len(todo), unit="videos") as bar:
        jobs = ((digest, CropJob(path, scratch / f"{digest}.parquet")) for digest, path in todo.items())
        outcomes = supervise(
            jobs,
            function=crop_video,
            setup=open_cropper,
            setup_argument=setup,
            workers=workers,
            seconds_per_job=config.seconds_per_video,
            memory_mb=config.memory_mb,
        )
        for done, outcome in enumerate(read_ahead(outcomes, ahead=workers), start=1):
            if outcome.status == "ok":
                faces = score_crops(outcome.value, scorer=scorer, rows=max(ROWS_HELD, config.batch))
                memory.keep(outcome.key, faces, scratch=scratch)
                outcome.value.unlink()
            else:
                failures[outcome.key] = _failure(outcome, todo[outcome.key])
            bar.advance()
            bar.say(f"{done / (time.monotonic() - began):.1f} videos/s")
    return failures


def score_crops(crops: Path, *, scorer: Scorer, rows: int = ROWS_HELD) -> pa.Table:
    """Run the model on the crops of one video.

    A video's crops are never mixed with another's in a batch: the last bits of a logit depend on the batch it was
    computed in, and a run that was killed and resumed must give the bytes of one that was not.

    Args:
        crops: a scratch file as ``cropping.crop_video`` writes it.
        scorer: the model.
        rows: read at a time.

    Returns:
        ``tables.SCORED_FACES``, with the JPEG of the most suspicious face alone.
    """
    parts: list[pa.Table] = []
    suspect: tuple[float, int, bytes | None] = (-np.inf, -1, None)
    with pq.ParquetFile(crops) as stored:
        for block in stored.iter_batches(batch_size=rows):
            jpegs = block["jpeg"].to_pylist()
            faces = [row for row, jpeg in enumerate(jpegs) if jpeg is not None]
            logits = scorer.logits_of_jpegs([jpegs[row] for row in faces])
            column: list[float | None] = [None] * len(jpegs)
            offset = sum(part.num_rows for part in parts)
            for row, logit in zip(faces, logits.tolist(), strict=True):
                column[row] = logit
                if logit > suspect[0]:
                    suspect = (logit, offset + row, jpegs[row])
            index = block.schema.get_field_index("logit")
            scored = pa.Table.from_batches([block]).set_column(index, "logit", pa.array(column, pa.float32()))
            parts.append(scored.drop_columns("jpeg"))
    table = pa.concat_tables(parts)
    kept = [suspect[2] if row == suspect[1] else None for row in range(table.num_rows)]
    return table.append_column("jpeg", pa.array(kept, pa.binary()))


def _failure(outcome: Outcome, path: Path) -> Failure:
    status = "timeout" if outcome.status == "timeout" else "unreadable"
    return Failure(status, outcome.reason.removeprefix(f"{path.name}: "))  # the row names the video already


def _report(
    rows: Sequence[Mapping[str, Any]],
    *,
    outputs: Mapping[str, str],
    contract: ModelContract,
    fresh: int,
    seconds: float,
) -> StageReport:
    statuses = Counter(row["status"] for row in rows)
    verdicts = Counter(row["verdict"] for row in rows)
    counts = {"videos": len(rows), "scored": statuses["scored"]}
    counts |= {status: statuses[status] for status in NOT_SCORED}
    counts |= {verdict: verdicts[verdict] for verdict in ("original", "manipulated", "undecidable")}
    shown = ("video", "status", "verdict", "score", "frames_scored")
    return StageReport(
        stage="score",
        counts=counts,
        metrics={"videos_per_second": fresh / seconds},
        failed=sum(statuses[status] for status in NOT_SCORED),
        notes=(*contract.notes, *_reasons(rows)),
        table=tuple({key: row.get(key) for key in shown} for row in rows[:_ROWS_SHOWN]),
        outputs=dict(outputs),
        seconds=seconds,
    )


def _reasons(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [f"{row['video']}: {row['reason']}" for row in rows if row.get("reason")]
    more = len(lines) - _REASONS_SHOWN
    return lines[:_REASONS_SHOWN] + ([f"… and {more} more: see the column 'reason'"] if more > 0 else [])
