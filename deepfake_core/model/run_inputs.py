"""What a training run remembers before its first step: parameters, data, faces to look at, and the data's reports."""

from pathlib import Path
from typing import Any

import numpy as np

from deepfake_core.config import TrainConfig
from deepfake_core.data.reader import read_faces
from deepfake_core.data.records_index import RecordsIndex
from deepfake_core.plots import face_grid
from deepfake_core.tracking import log_artifact, log_dataset, log_figure, log_params
from deepfake_core.workspace import Workspace

GRID_FACES = 16
LABELS = ("original", "manipulated")


def log_inputs(
    workspace: Workspace, *, index: RecordsIndex, config: TrainConfig, class_weights: dict[int, float]
) -> None:
    """Log to the open MLflow run what the training is about to read; doing it twice changes nothing."""
    log_params(
        {
            "train": config.fingerprint_values(),
            "face": index.spec.face.model_dump(mode="json"),
            "detector": index.spec.detector.model_dump(mode="json"),
            "sampling": index.spec.sampling.model_dump(mode="json"),
            "class_weights": {LABELS[label]: round(weight, 6) for label, weight in class_weights.items()},
        }
    )
    for split, context in (("train", "training"), ("val", "validation")):
        part = index.split(split)
        tags = {"faces": str(part.faces), "groups": str(len(part.groups))}
        tags |= {LABELS[int(label)]: str(count) for label, count in part.classes.items()}
        log_dataset(f"records-{split}", digest=index.digest, context=context, uri=workspace.records.as_uri(), tags=tags)
    log_artifact(workspace.records_index, "data")
    log_figure(draw_faces(workspace), "data/faces.png")
    for report, folder in ((workspace.quality_report, "data/quality"), (workspace.leak_report, "data/split")):
        _log_folder(report.parent, folder)


def draw_faces(workspace: Workspace, *, count: int = GRID_FACES) -> Any:
    """Draw the first faces of the training records, as many originals as manipulated where there are enough."""
    chosen: dict[int, list[tuple[np.ndarray[Any, Any], str]]] = {0: [], 1: []}
    for crop, label, ids in read_faces(workspace, "train", with_ids=True).as_numpy_iterator():
        method, compression, video_id = (ids[name].decode() for name in ("method", "compression", "video_id"))
        kind = LABELS[label] if label == 0 else f"{LABELS[label]} {method}"
        if len(chosen[label]) < count // 2:
            chosen[label].append((crop, f"{kind} {compression}\n{video_id.rpartition('/')[2]}, frame {ids['frame']}"))
        if all(len(faces) == count // 2 for faces in chosen.values()):
            break
    faces = [face for pair in zip(chosen[0], chosen[1], strict=False) for face in pair]
    return face_grid(
        [crop for crop, _ in faces], [caption for _, caption in faces], title="Faces of the training split"
    )


def _log_folder(source: Path, folder: str) -> None:
    for path in sorted(source.glob("*")) if source.is_dir() else ():
        if path.is_file():
            log_artifact(path, folder)
