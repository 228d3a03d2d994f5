"""Train the Xception on the records; the best epoch by validation becomes ``model.keras``.

Reads the records; writes ``models/model.keras`` and, last of all, ``models/training.json``. Everything is logged to
one MLflow run. A training that was killed goes on at its next epoch, in the same run, and ends with the history that
it would have had anyway.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import keras

from deepfake_core import files, receipts, tables
from deepfake_core.config import TrackingConfig, TrainConfig
from deepfake_core.data.reader import read_index
from deepfake_core.data.records_index import RecordsIndex
from deepfake_core.data.split import refuse_torn_groups
from deepfake_core.errors import SplitError, TrackingError
from deepfake_core.model.batches import SplitFaces, TrainingBatches, weigh_classes
from deepfake_core.model.checkpoints import Checkpoints, Epoch, State
from deepfake_core.model.devices import on_device, with_fit_precision
from deepfake_core.model.fitting import Fitter, best_epoch, out_of_patience
from deepfake_core.model.provenance import git_commit
from deepfake_core.model.run_inputs import log_inputs
from deepfake_core.model.training_record import TrainingRecord, write_training_record
from deepfake_core.model.xception import build_model
from deepfake_core.plots import draw_history
from deepfake_core.progress import SILENT, Bar, Progress
from deepfake_core.report import StageReport
from deepfake_core.tracking import describe_run, log_artifact, log_figure, log_metrics, run_of
from deepfake_core.workspace import Workspace

NO_TRACKING_CONFIG = TrackingConfig()


def train_model(
    workspace: Workspace,
    *,
    config: TrainConfig,
    tracking: TrackingConfig = NO_TRACKING_CONFIG,
    name: str = "deepfake",
    progress: Progress = SILENT,
) -> StageReport:
    """Train a model, or go on with a training that was killed.

    Args:
        workspace: holds the records; receives the model and its record.
        config: architecture, optimizer, augmentation, selection and seed.
        tracking: where the run is logged.
        name: of the MLflow run.
        progress: shows steps and the loss.

    Returns:
        Number of the best epoch, its validation loss and AUC, and images a second.

    Raises:
        TornGroupError: a group of people stands in two splits.
        SplitError: training or validation lacks a class.
        DeviceError: a GPU was asked for and there is none.
        TrainingError: the loss became no number.
        WeightsError, ConfigError: the ImageNet weights do not fit, or are not the right ones.
        TrackingError: MLflow does not answer.
    """
    with receipts.open_stage(workspace, "train", config=config) as work:
        checkpoints = Checkpoints(workspace.checkpoints)
        if work.found:
            checkpoints.remove()
            return work.found
        refuse_torn_groups(tables.read(workspace.splits_table, schema=tables.SPLITS))
        index = read_index(workspace)
        refuse_missing_class(index)
        begun = checkpoints.read(work.fingerprint)
        with on_device(config.device), _run(workspace, tracking, begun, name=name, config=config) as run_id:
            if begun is None:
                checkpoints.begin(State(fingerprint=work.fingerprint, run_id=run_id))
            state = (begun or State(fingerprint=work.fingerprint, run_id=run_id)).model_copy(update={"run_id": run_id})
            fit = with_fit_precision(config)
            record = _train(
                workspace, config=fit, index=index, name=name, state=state, store=checkpoints, progress=progress
            )
        resumed_after = begun.history[-1].epoch if begun and begun.history else None
        report = _report(workspace, record, config=config, precision=fit.precision, resumed_after=resumed_after)
        report = work.finish(report, outputs=[workspace.keras_model, workspace.training_record])
        checkpoints.remove()
        return report


def refuse_missing_class(index: RecordsIndex) -> None:
    """Refuse records in which training or validation has only one class.

    Raises:
        SplitError: names the split and its counts.
    """
    for split in ("train", "val"):
        classes = index.split(split).classes
        if not all(classes.get(label) for label in ("0", "1")):
            message = (
                f"the split {split!r} needs originals and manipulated faces. It has {classes.get('0', 0)} and "
                f"{classes.get('1', 0)}. Take other split lists or counts."
            )
            raise SplitError(message)


@contextmanager
def _run(
    workspace: Workspace, tracking: TrackingConfig, begun: State | None, *, name: str, config: TrainConfig
) -> Iterator[str]:
    """Go on with the run of a killed training, or begin one; also where the old run was deleted meanwhile."""
    commit = git_commit()
    tags = {"stage": "train", "architecture": config.architecture, "git_commit": commit or "unknown"}
    if commit:
        tags["mlflow.source.git.commit"] = commit.removesuffix("-dirty")  # MLflow's own column
    with ExitStack() as stack:
        try:
            run = run_of(workspace, config=tracking, run_id=begun.run_id if begun else None, name=name, tags=tags)
            run_id = stack.enter_context(run)
        except TrackingError:
            if begun is None:
                raise
            run_id = stack.enter_context(run_of(workspace, config=tracking, name=name, tags=tags))
            for epoch in begun.history:
                _log_epoch(epoch)
        yield run_id


def _train(
    workspace: Workspace,
    *,
    config: TrainConfig,
    index: RecordsIndex,
    name: str,
    state: State,
    store: Checkpoints,
    progress: Progress,
) -> TrainingRecord:
    counts = {int(label): count for label, count in index.split("train").classes.items()}
    class_weights = weigh_classes(counts, config.class_weights)
    log_inputs(workspace, index=index, config=config, class_weights=class_weights)
    faces = SplitFaces(workspace, "train", shuffle_buffer=config.shuffle_buffer)
    fitter = Fitter(
        build_model(config, size=faces.size),
        config=config,
        batches=TrainingBatches(faces, config=config, class_weights=class_weights),
        validation=SplitFaces(workspace, "val"),
    )
    if state.history:
        store.restore(state, fitter.model, fitter.optimizer)
    with progress.bar("train", total=config.epochs * fitter.steps, unit="steps") as bar:
        bar.advance(len(state.history) * fitter.steps)
        state = _fit(fitter, config=config, state=state, store=store, bar=bar)
    store.restore_best(state, fitter.model)
    _save_model(workspace, fitter.model, config=config, size=faces.size)
    record = TrainingRecord(
        run_id=state.run_id,
        name=name,
        architecture=config.architecture,
        best_epoch=state.best_epoch,
        epochs=len(state.history),
        history=state.history,
        dataset_digest=index.digest,
        training_groups=tuple(sorted({*index.split("train").groups, *index.split("val").groups})),
        test_groups=index.split("test").groups,
        seed=config.seed or 0,
        keras_sha256=files.sha256_of_file(workspace.keras_model),
        class_weights={str(label): weight for label, weight in class_weights.items()},
        git_commit=git_commit(),
        seconds=sum(epoch.seconds for epoch in state.history),
        config=config.model_dump(mode="json"),
    )
    write_training_record(workspace, record)
    _log_result(workspace, record, index)
    return record


def _fit(fitter: Fitter, *, config: TrainConfig, state: State, store: Checkpoints, bar: Bar) -> State:
    """Run the epochs that are left, until the last one or until patience ends."""
    while len(state.history) < config.epochs:
        if out_of_patience(state.history, select_by=config.select_by, patience=config.patience):
            break
        epoch = fitter.run_epoch(len(state.history) + 1, bar)
        history = (*state.history, epoch)
        best = best_epoch(history, select_by=config.select_by)
        state = state.model_copy(update={"history": history, "best_epoch": best})
        _log_epoch(epoch)
        store.save(state, fitter.model, fitter.optimizer)
    return state


def _save_model(workspace: Workspace, trained: keras.Model, *, config: TrainConfig, size: int) -> None:
    """Write the model with float32 arithmetic, whatever it was trained in: it is what export and parity compute."""
    model = build_model(config.model_copy(update={"precision": "float32", "weights": None}), size=size)
    model.set_weights(trained.get_weights())
    with files.replacing(workspace.keras_model) as temporary:
        model.save(temporary)


def _log_epoch(epoch: Epoch) -> None:
    log_metrics(epoch.model_dump(exclude={"epoch", "seconds"}) | {"epoch_seconds": epoch.seconds}, step=epoch.epoch)


def _log_result(workspace: Workspace, record: TrainingRecord, index: RecordsIndex) -> None:
    best = record.history[record.best_epoch - 1]
    log_metrics({"best_epoch": record.best_epoch, "best_val_loss": best.val_loss, "best_val_auc": best.val_auc})
    history = [epoch.model_dump() for epoch in record.history]
    log_figure(draw_history(history, best_epoch=record.best_epoch), "plots/history.png")
    log_artifact(workspace.training_record, "training")
    describe_run(_describe(record, index))


def _describe(record: TrainingRecord, index: RecordsIndex) -> str:
    best = record.history[record.best_epoch - 1]
    train, val = index.split("train"), index.split("val")
    return (
        f"**{record.architecture}**, trained on {train.faces:,} faces (groups of people: {len(train.groups)}). Epoch "
        f"{record.best_epoch} of {record.epochs} was the best on {val.faces:,} faces of other people (groups: "
        f"{len(val.groups)}): loss {best.val_loss:.4f}, AUC {best.val_auc:.4f}. Seed {record.seed}, data set "
        f"`{record.dataset_digest[:12]}`.\n\nLook at `data/faces.png`, `plots/history.png` and, once evaluated, "
        "`evaluation/index.html`."
    )


def _report(
    workspace: Workspace, record: TrainingRecord, *, config: TrainConfig, precision: str, resumed_after: int | None
) -> StageReport:
    best = record.history[record.best_epoch - 1]
    notes = []
    if precision != config.precision:
        notes.append(f"trained in {precision}: {config.precision} means that on this machine")
    if resumed_after is not None:
        notes.append(f"went on after epoch {resumed_after} of a training that had been interrupted")
    if record.epochs < config.epochs:
        notes.append(f"stopped after epoch {record.epochs}: no better {config.select_by} since {record.best_epoch}")
    return StageReport(
        stage="train",
        counts={"epochs": record.epochs},
        metrics={
            "best_epoch": float(record.best_epoch),
            "val_auc": best.val_auc,
            "val_loss": best.val_loss,
            "images_per_second": max(epoch.images_per_second for epoch in record.history),
        },
        notes=tuple(notes),
        table=tuple(
            {
                "epoch": epoch.epoch,
                "loss": round(epoch.loss, 4),
                "val_loss": round(epoch.val_loss, 4),
                "val_auc": round(epoch.val_auc, 4),
                "images/s": round(epoch.images_per_second),
                "kept": "*" if epoch.epoch == record.best_epoch else "",
            }
            for epoch in record.history
        ),
        outputs={"model": str(workspace.keras_model), "record": str(workspace.training_record)},
    )
