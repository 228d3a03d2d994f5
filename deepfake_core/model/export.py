"""Export the trained model to ONNX, prove that nothing changed on the way, and tell scoring all it must know.

Reads ``models/model.keras`` with its record, and the records; writes ``models/parity.json`` and ``models/model.onnx``,
which carries the ``ModelContract``: how faces are found and cropped, how frames are aggregated, where the thresholds
lie and how validation chose them.
"""

import keras
import numpy as np
import numpy.typing as npt
import onnx

from deepfake_core import contract, files, receipts, tables
from deepfake_core.config import ExportConfig, TrackingConfig
from deepfake_core.contract import ModelContract
from deepfake_core.data.groups import people_of_id
from deepfake_core.data.reader import read_index
from deepfake_core.data.records_index import RecordsIndex
from deepfake_core.model.fitting import KerasLogits
from deepfake_core.model.onnx_graph import OnnxLogits, convert_to_onnx
from deepfake_core.model.parity import ParityReport, blend_into_gaps, prove_parity, spread
from deepfake_core.model.provenance import git_commit
from deepfake_core.model.training_record import TrainingRecord, read_training_record
from deepfake_core.model.validation import (
    ScoredFaces,
    Thresholds,
    choose_thresholds,
    crops_at,
    measure_validation,
    score_faces,
)
from deepfake_core.progress import SILENT, Progress
from deepfake_core.report import StageReport
from deepfake_core.tracking import log_artifact, log_metrics, run_of
from deepfake_core.workspace import Workspace

NO_TRACKING_CONFIG = TrackingConfig()


def export_model(
    workspace: Workspace,
    *,
    config: ExportConfig,
    tracking: TrackingConfig = NO_TRACKING_CONFIG,
    progress: Progress = SILENT,
) -> StageReport:
    """Export the trained model.

    Args:
        workspace: holds the model, its record and the records; receives ``model.onnx`` and ``parity.json``.
        config: aggregation, threshold, frame step and the parity that is asked for.
        tracking: where the training run is, which parity and thresholds are logged to.
        progress: shows the scoring of validation faces.

    Returns:
        Thresholds, validation metrics and the largest difference between Keras and onnxruntime.

    Raises:
        ParityError: Keras and onnxruntime disagree; nothing is written.
        UndefinedMetric: validation has only one class, so no threshold can be chosen.
        TrackingError: MLflow does not answer, or has no such run.
    """
    with receipts.open_stage(workspace, "export", config=config) as work:
        if work.found:
            return work.found
        record = read_training_record(workspace)
        index = read_index(workspace)
        model = keras.models.load_model(workspace.keras_model, compile=False)
        with progress.bar("convert to ONNX", total=None):
            graph = convert_to_onnx(model)
        exported = OnnxLogits(graph)
        faces = score_faces(workspace, "val", logits_of=exported, progress=progress)
        parity = _prove(workspace, faces, model=model, exported=exported, config=config, progress=progress)
        thresholds = choose_thresholds(faces, config=config)
        measured = measure_validation(faces, config=config, thresholds=thresholds)
        card = write_contract(
            graph, config, index, record, thresholds, measured, parity, list_training_people(workspace)
        )
        contract.embed(graph, card)
        files.write_json(workspace.parity_report, parity.model_dump(mode="json"))
        files.write_bytes(workspace.onnx_model, graph.SerializeToString(deterministic=True))
        _log(workspace, tracking, card=card, parity=parity)
        return work.finish(
            _report(workspace, card=card, parity=parity), outputs=[workspace.onnx_model, workspace.parity_report]
        )


def _prove(
    workspace: Workspace,
    faces: ScoredFaces,
    *,
    model: keras.Model,
    exported: OnnxLogits,
    config: ExportConfig,
    progress: Progress,
) -> ParityReport:
    """Compare on validation faces; on training faces and blends too, where those are too few or too sure."""
    crops, logits = _pick(workspace, "val", faces, count=config.parity_crops)
    if len(crops) < config.parity_crops:
        others = score_faces(workspace, "train", logits_of=exported, progress=progress)
        more, more_logits = _pick(workspace, "train", others, count=config.parity_crops - len(crops))
        crops, logits = np.concatenate([crops, more]), np.concatenate([logits, more_logits])
    blends = blend_into_gaps(crops, logits, logits_of=exported)
    report = prove_parity(
        np.concatenate([crops, blends]),
        expected=KerasLogits(model),
        exported=exported,
        allowed=config.max_logit_difference,
        blended=len(blends),
    )
    if len(crops) < config.parity_crops:
        note = f"only {len(crops)} crops were at hand, {config.parity_crops} were asked for"
        report = report.model_copy(update={"notes": (note, *report.notes)})
    return report


def _pick(
    workspace: Workspace, split: str, faces: ScoredFaces, *, count: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    chosen = spread(faces.logits, count=count)
    return crops_at(workspace, split, chosen), faces.logits[chosen]


def write_contract(
    graph: onnx.ModelProto,
    config: ExportConfig,
    index: RecordsIndex,
    record: TrainingRecord,
    thresholds: Thresholds,
    measured: dict[str, float],
    parity: ParityReport,
    people: tuple[str, ...],
) -> ModelContract:
    """Return what a scorer must know of the model in ``graph``."""
    return ModelContract(
        name=record.architecture,
        face=index.spec.face,
        detector=index.spec.detector,
        frame_step=config.frame_step or index.spec.sampling.step,
        aggregation=config.aggregation,
        frame_threshold=thresholds.frame,
        video_threshold=thresholds.video,
        min_faces=config.min_faces,
        training_groups=record.training_groups,
        training_people=people,
        test_groups=record.test_groups,
        dataset_digest=record.dataset_digest,
        git_commit=git_commit(),
        mlflow_run_id=record.run_id,
        validation_metrics=measured,
        notes=parity.notes,
        graph_sha256=contract.graph_sha256(graph),
    )


def list_training_people(workspace: Workspace) -> tuple[str, ...]:
    """Return the people of training and validation, sorted, as far as video ids name them."""
    splits = tables.read(workspace.splits_table, schema=tables.SPLITS)
    seen = zip(splits["video_id"].to_pylist(), splits["split"].to_pylist(), strict=True)
    return tuple(sorted({person for video, split in seen if split != "test" for person in people_of_id(video)}))


def _log(workspace: Workspace, tracking: TrackingConfig, *, card: ModelContract, parity: ParityReport) -> None:
    with run_of(workspace, config=tracking, run_id=card.mlflow_run_id):
        log_metrics(
            {
                **{f"val_{name}": value for name, value in card.validation_metrics.items()},
                "frame_threshold": card.frame_threshold.value,
                "video_threshold": card.video_threshold.value,
                "parity_max_logit_difference": parity.max_logit_difference,
            }
        )
        log_artifact(workspace.parity_report, "export")


def _report(workspace: Workspace, *, card: ModelContract, parity: ParityReport) -> StageReport:
    return StageReport(
        stage="export",
        counts={"parity_crops": parity.crops},
        metrics={
            **{f"val_{name}": value for name, value in card.validation_metrics.items() if name.endswith("_auc")},
            "frame_threshold": card.frame_threshold.value,
            "video_threshold": card.video_threshold.value,
            "max_logit_difference": parity.max_logit_difference,
        },
        notes=parity.notes,
        outputs={"model": str(workspace.onnx_model), "parity": str(workspace.parity_report)},
    )
