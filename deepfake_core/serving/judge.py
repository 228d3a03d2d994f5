"""From the faces of videos to rows of the score tables: the contract's aggregation and threshold, and nothing else."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from deepfake_core import aggregation, tables
from deepfake_core.contract import ModelContract
from deepfake_core.serving.inputs import InputVideo
from deepfake_core.serving.remember import Memory


@dataclass(frozen=True)
class Failure:
    """Why a video has no score: its status, ``unreadable`` or ``timeout``, and a sentence."""

    status: str
    reason: str


def judge_all(
    videos: Iterable[InputVideo], failures: Mapping[str, Failure], *, memory: Memory, contract: ModelContract
) -> tuple[list[dict[str, Any]], pa.Table]:
    """Judge all videos.

    Args:
        videos: in the order of the table.
        failures: digest → why there is no score.
        memory: holds the faces of all others.
        contract: says how to judge.

    Returns:
        The rows of ``tables.SCORES`` without the model's columns, and the table ``tables.FRAME_SCORES``.
    """
    rows: list[dict[str, Any]] = []
    frames = [tables.from_rows([], tables.FRAME_SCORES)]
    for video in videos:
        row = {"video": video.name, "sha256": video.sha256, "threshold": contract.video_threshold.value}
        failure = Failure("unreadable", video.reason) if video.sha256 is None else failures.get(video.sha256)
        if failure is not None:
            rows.append(row | {"status": failure.status, "reason": failure.reason, "verdict": "undecidable"})
            continue
        faces = memory.faces_of(str(video.sha256))
        rows.append(row | judge_video(faces, contract))
        frames.append(_frame_scores(faces, video))
    return rows, pa.concat_tables(frames)


def judge_video(faces: pa.Table, contract: ModelContract) -> dict[str, Any]:
    """Return status, reason, frame counts, score and verdict of a video.

    Args:
        faces: ``tables.SCORED_FACES`` of its sampled frames.
        contract: says how logits become a score, and from where on it means *manipulated*.
    """
    logits = faces["logit"].drop_null().to_numpy()
    score = aggregation.video_score(logits, how=contract.aggregation, frame_threshold=contract.frame_threshold.value)
    verdict = aggregation.verdict(
        score, threshold=contract.video_threshold.value, faces=len(logits), min_faces=contract.min_faces
    )
    return {
        "status": "no_face" if score is None else "scored",
        "reason": " ".join(_reasons(faces, found=len(logits), min_faces=contract.min_faces)) or None,
        "frames_sampled": faces.num_rows,
        "frames_scored": len(logits),
        "score": score,
        "verdict": verdict,
    }


def _reasons(faces: pa.Table, *, found: int, min_faces: int) -> Iterator[str]:
    sampled, lost = faces.num_rows, faces["decoded"].to_pylist().count(False)
    if found == 0:
        yield f"no face was found in any of the {sampled} sampled frames."
    elif found < min_faces:
        yield f"only {found} faces were found; the model asks for {min_faces} before it decides."
    if lost:
        yield f"{lost} of the {sampled} sampled frames cannot be decoded: the file is damaged."


def _frame_scores(faces: pa.Table, video: InputVideo) -> pa.Table:
    """Return the rows of ``tables.FRAME_SCORES`` of one video: every sampled frame, null where it shows no face."""
    logits = faces["logit"].to_numpy(zero_copy_only=False)
    probabilities = aggregation.sigmoid(logits).astype(np.float32)
    columns = {name: faces[name] for name in tables.FRAME_SCORES.names if name in faces.column_names}
    columns["video"] = pa.array([video.name] * len(logits))
    columns["sha256"] = pa.array([video.sha256] * len(logits))
    columns["probability"] = pa.array(probabilities, mask=np.isnan(logits))
    return pa.table(columns).select(tables.FRAME_SCORES.names).cast(tables.FRAME_SCORES)
