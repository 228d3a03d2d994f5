"""Workspaces with tiny records, and one in which a tiny model was trained."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import mlflow
import numpy as np
import pytest

from deepfake_core import files, receipts, tables
from deepfake_core.config import (
    AugmentConfig,
    DownloadConfig,
    ExtractConfig,
    RecordsConfig,
    SplitConfig,
    TrackingConfig,
    TrainConfig,
    ValidateConfig,
)
from deepfake_core.data.records import write_records
from deepfake_core.model.train import train_model
from deepfake_core.report import StageReport
from deepfake_core.specs import DetectorSpec, FaceSpec, SamplingSpec
from deepfake_core.workspace import Workspace

FACE_PIXELS = 32
FRAMES = 4
SPLIT_OF_GROUP = {"000": "train", "002": "train", "004": "train", "006": "val", "008": "test"}

NO_CHANGES = AugmentConfig(
    flip=0, rotate=0, zoom=0, translate=0, brightness=0, contrast=0, saturation=0, channel_gain=0, blur=0,
    downscale=0, jpeg=0, noise=0,
)  # fmt: skip
TINY = TrainConfig(
    width=0.125,
    middle_blocks=0,
    batch=8,
    epochs=2,
    learning_rate=3e-3,
    batchnorm_momentum=0.8,
    patience=None,
    augment=AugmentConfig(jpeg=0.5),
    seed=5,
    device="cpu",
)


def encode_face(video_id: str, frame: int, *, manipulated: bool) -> bytes:
    """Return a JPEG: coarse colours under noise; a manipulated one is coarse all over, which a model can learn."""
    random = np.random.default_rng([frame, *video_id.encode()])
    coarse = random.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    pixels = cv2.resize(coarse, (FACE_PIXELS, FACE_PIXELS), interpolation=cv2.INTER_CUBIC).astype(np.int16)
    if not manipulated:
        pixels += random.integers(-40, 41, pixels.shape, dtype=np.int16)
    return bytes(cv2.imencode(".jpg", np.clip(pixels, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 95])[1])


def leave_receipt(workspace: Workspace, stage: str, config: Any, outputs: list[Path]) -> None:
    with receipts.open_stage(workspace, stage, config=config) as work:
        work.finish(StageReport(stage=stage), outputs=outputs)


def make_records(root: Path) -> Workspace:
    """Write the tables and faces of five pairs of people, and their records."""
    workspace = Workspace.open(root)
    videos, splits, extractions = [], [], []
    for group, split in SPLIT_OF_GROUP.items():
        first, second = group, f"{int(group) + 1:03d}"
        for method, name in (
            ("original", first),
            ("original", second),
            ("Deepfakes", f"{first}_{second}"),
            ("FaceSwap", f"{second}_{first}"),
        ):
            video_id = f"ffpp/{method}/c23/{name}"
            label = int(method != "original")
            videos.append(
                {"video_id": video_id, "path": f"videos/{video_id}.mp4", "dataset": "ffpp", "method": method,
                 "compression": "c23", "name": name, "target": name[:3], "label": label, "status": "ok"}
            )  # fmt: skip
            splits.append({"video_id": video_id, "group": group, "split": split})
            rows = [
                {"video_id": video_id, "frame": 4 * number, "status": "ok",
                 "jpeg": encode_face(video_id, number, manipulated=bool(label))}
                for number in range(FRAMES)
            ]  # fmt: skip
            path = workspace.faces_of(video_id)
            tables.write(path, tables.from_rows(rows, tables.FACES), schema=tables.FACES)
            extractions.append(
                {"video_id": video_id, "fingerprint": "0" * 64, "faces": FRAMES, "no_face": 0, "status": "ok",
                 "digest": files.sha256_of_file(path)}
            )  # fmt: skip
    finish_stages(workspace, videos, splits, extractions)
    write_records(workspace, config=RecordsConfig(shards=(2, 1, 1), seed=3, workers=1))
    return workspace


def finish_stages(
    workspace: Workspace, videos: list[dict[str, Any]], splits: list[dict[str, Any]], extractions: list[dict[str, Any]]
) -> None:
    spec = {
        "face": FaceSpec(size=FACE_PIXELS).model_dump(mode="json"),
        "detector": DetectorSpec(name="haar").model_dump(mode="json"),
        "sampling": SamplingSpec().model_dump(mode="json"),
    }
    schema = tables.EXTRACTIONS
    schema = schema.with_metadata({**schema.metadata, b"deepfake.spec": json.dumps(spec, sort_keys=True).encode()})
    tables.write(workspace.videos_table, tables.from_rows(videos, tables.VIDEOS), schema=tables.VIDEOS)
    tables.write(workspace.splits_table, tables.from_rows(splits, tables.SPLITS), schema=tables.SPLITS)
    tables.write(workspace.extractions_table, tables.from_rows(extractions, tables.EXTRACTIONS), schema=schema)
    files.write_text(workspace.quality_report, "<p>all expectations hold</p>")
    leave_receipt(workspace, "download", DownloadConfig(), [workspace.videos_table])
    leave_receipt(workspace, "split", SplitConfig(), [workspace.splits_table])
    leave_receipt(workspace, "extract", ExtractConfig(), [workspace.extractions_table])
    leave_receipt(workspace, "validate", ValidateConfig(), [workspace.quality_report])


@pytest.fixture(scope="session")
def records_once(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = make_records(tmp_path_factory.mktemp("records") / "workspace")
    # MLflow's migration takes seconds: done once, copied with the workspace. No experiment is made yet, so that each
    # copy keeps its artifacts in itself.
    mlflow.MlflowClient(tracking_in(workspace).uri).search_experiments()
    return workspace


@pytest.fixture(scope="session")
def trained_once(records_once: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    root = tmp_path_factory.mktemp("trained") / "workspace"
    shutil.copytree(records_once.root, root)
    workspace = Workspace.existing(root)
    train_model(workspace, config=TINY, tracking=tracking_in(workspace), name="tiny")
    return workspace


def tracking_in(workspace: Workspace) -> TrackingConfig:
    """Keep the runs in the workspace, whatever the environment says."""
    return TrackingConfig(uri=f"sqlite:///{workspace.mlflow_db}")


@pytest.fixture
def records(records_once: Workspace, tmp_path: Path) -> Workspace:
    """Return a workspace with records: 48 faces to train on, 16 to validate, 16 to test, of 32 pixels."""
    shutil.copytree(records_once.root, tmp_path / "workspace")
    return Workspace.existing(tmp_path / "workspace")


@pytest.fixture
def trained(trained_once: Workspace, tmp_path: Path) -> Workspace:
    """Return a workspace in which a tiny model was trained; its runs are in the workspace it was copied from."""
    shutil.copytree(trained_once.root, tmp_path / "trained")
    return Workspace.existing(tmp_path / "trained")


@pytest.fixture(scope="session")
def tiny() -> TrainConfig:
    """Return the configuration of a model that trains in a second."""
    return TINY


@pytest.fixture(scope="session")
def no_changes() -> AugmentConfig:
    """Return an augmentation that leaves crops alone."""
    return NO_CHANGES


@pytest.fixture(scope="session")
def track() -> Callable[[Workspace], TrackingConfig]:
    """Return the function that keeps a workspace's runs inside it."""
    return tracking_in
