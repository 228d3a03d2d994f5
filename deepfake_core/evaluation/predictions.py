"""The videos of the test split, and what the exported model says of them.

Reads the splits, the extractions and the stored faces; keeps the predictions by model digest, so that a model that was
scored is not scored again.
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from deepfake_core import aggregation, files, tables
from deepfake_core.contract import ModelContract
from deepfake_core.data.groups import people_of_id
from deepfake_core.data.split import refuse_torn_groups
from deepfake_core.errors import MissingInput, StaleInput, TornGroupError
from deepfake_core.progress import SILENT, Bar, Progress
from deepfake_core.serving.session import Scorer
from deepfake_core.workspace import Workspace

PART_VIDEOS = 32
"""Videos whose predictions are kept together while scoring is under way: what a kill costs at most."""


@dataclass(frozen=True)
class TestVideo:
    """A video of the test split.

    Attributes:
        video_id: of the video.
        method: ``original`` or the manipulation.
        compression: of the video.
        name: its file's stem.
        group: whose video it is.
        label: 0 original, 1 manipulated.
        faces: how many faces were extracted.
        digest: SHA-256 of its faces file; None where there is none.
        reason: why there are no faces, where there are none.
    """

    __test__ = False  # the name is not for pytest

    video_id: str
    method: str
    compression: str
    name: str
    group: str
    label: int
    faces: int
    digest: str | None
    reason: str | None


def list_test_videos(workspace: Workspace, *, contract: ModelContract) -> list[TestVideo]:
    """Return the videos of the test split, sorted by id.

    Raises:
        TornGroupError: a group is torn, or the model was trained on people who stand in test now.
        MissingInput: there are none.
    """
    splits = tables.read(workspace.splits_table, schema=tables.SPLITS)
    refuse_torn_groups(splits)
    groups = {row["video_id"]: row["group"] for row in splits.to_pylist() if row["split"] == "test"}
    if not groups:
        message = f"the test split of {workspace.splits_table} holds no video. Split again with a share for test."
        raise MissingInput(message)
    trained_on = sorted(
        {group for video, group in groups.items() if contract.was_trained_on((group, *people_of_id(video)))}
    )
    if trained_on:
        message = (
            f"the model was trained on {len(trained_on)} groups of the test split ({', '.join(trained_on[:5])}). "
            "It was exported under another split: train and export it again."
        )
        raise TornGroupError(message)
    extractions = {
        row["video_id"]: row for row in tables.read(workspace.extractions_table, schema=tables.EXTRACTIONS).to_pylist()
    }
    videos = tables.read(workspace.videos_table, schema=tables.VIDEOS).to_pylist()
    chosen = (_test_video(row, groups, extractions) for row in videos if row["video_id"] in groups)
    return sorted(chosen, key=lambda video: video.video_id)


def digest_of_faces(videos: Sequence[TestVideo]) -> str:
    """Return one SHA-256 over the faces of all ``videos``."""
    return files.sha256_of_values({video.video_id: video.digest for video in videos})


def _test_video(video: dict[str, Any], groups: dict[str, str], extractions: dict[str, dict[str, Any]]) -> TestVideo:
    extraction = extractions.get(video["video_id"], {})
    return TestVideo(
        **{key: video[key] for key in ("video_id", "method", "compression", "name", "label")},
        group=groups[video["video_id"]],
        faces=extraction.get("faces") or 0,
        digest=extraction.get("digest"),
        reason=extraction.get("reason") or video["reason"],
    )


def predict(
    workspace: Workspace, scorer: Scorer, videos: Sequence[TestVideo], *, progress: Progress = SILENT
) -> pa.Table:
    """Return the predictions of the model for ``videos``, from the stored ones where they are complete.

    Raises:
        StaleInput: a faces file is not the one that the extraction wrote.
    """
    path = workspace.predictions_of(scorer.onnx_sha256)
    if path.is_file():
        stored = tables.read(path, schema=tables.PREDICTIONS)
        if _keys(stored.to_pylist()) == _keys([asdict(video) for video in videos]):
            return stored
    parts = path.with_suffix(".parts")
    total = sum(video.faces for video in videos)
    with progress.bar("score the test split", total=total, unit="faces") as bar:
        found = [_predict_part(workspace, scorer, part, parts, bar) for part in _in_parts(videos)]
    predictions = pa.concat_tables(found).combine_chunks()
    tables.write(path, predictions, schema=tables.PREDICTIONS)
    shutil.rmtree(parts, ignore_errors=True)
    return tables.read(path, schema=tables.PREDICTIONS)


def _keys(rows: Sequence[dict[str, Any]]) -> set[tuple[str, str, int]]:
    return {(row["video_id"], row["group"], row["label"]) for row in rows}


def _in_parts(videos: Sequence[TestVideo]) -> Iterator[Sequence[TestVideo]]:
    for start in range(0, len(videos), PART_VIDEOS):
        yield videos[start : start + PART_VIDEOS]


def _predict_part(
    workspace: Workspace, scorer: Scorer, videos: Sequence[TestVideo], folder: Path, bar: Bar
) -> pa.Table:
    path = folder / f"{files.sha256_of_values([asdict(video) for video in videos])}.parquet"
    if path.is_file():
        bar.advance(sum(video.faces for video in videos))
        return tables.read(path, schema=tables.PREDICTIONS)
    rows = []
    for video in videos:
        rows.append(_predict_video(workspace, scorer, video))
        bar.advance(video.faces)
    part = tables.from_rows(rows, tables.PREDICTIONS)
    tables.write(path, part, schema=tables.PREDICTIONS)
    return part


def _predict_video(workspace: Workspace, scorer: Scorer, video: TestVideo) -> dict[str, Any]:
    contract = scorer.contract
    frames, jpegs = _read_faces(workspace, video)
    logits = scorer.logits_of_jpegs(jpegs)
    score = aggregation.video_score(logits, how=contract.aggregation, frame_threshold=contract.frame_threshold.value)
    return {
        "onnx_sha256": scorer.onnx_sha256,
        **{key: getattr(video, key) for key in ("video_id", "method", "compression", "name", "group", "label")},
        "frames": frames,
        "frame_logits": logits.tolist(),
        "score": score,
        "verdict": aggregation.verdict(
            score, threshold=contract.video_threshold.value, faces=len(frames), min_faces=contract.min_faces
        ),
    }


def _read_faces(workspace: Workspace, video: TestVideo) -> tuple[list[int], list[bytes]]:
    if video.digest is None:
        return [], []
    path = workspace.faces_of(video.video_id)
    if not path.is_file() or files.sha256_of_file(path) != video.digest:
        message = (
            f"{path} is not what the extraction wrote. Make it again: deepfake extract --workspace {workspace.root}"
        )
        raise StaleInput(message)
    tables.check(path, schema=tables.FACES)
    rows = pq.read_table(path, columns=["frame", "jpeg"], filters=[("status", "=", "ok")], partitioning=None)
    rows = rows.sort_by("frame")
    return rows["frame"].to_pylist(), rows["jpeg"].to_pylist()
