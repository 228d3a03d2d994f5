"""TrainingRecord: where ``model.keras`` comes from. It is written last, and the rest of the platform reads it."""

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from deepfake_core import files
from deepfake_core.errors import MissingInput, WorkspaceError
from deepfake_core.model.checkpoints import Epoch
from deepfake_core.specs import Sha256
from deepfake_core.workspace import Workspace


class TrainingRecord(BaseModel):
    """Provenance and history of a trained model.

    Attributes:
        run_id: MLflow run.
        name: of the run.
        architecture: of the model.
        best_epoch: whose weights were kept.
        epochs: how many were run.
        history: what each gave.
        dataset_digest: of the records.
        training_groups: ids of the groups in training and validation.
        test_groups: ids of the groups in test.
        seed: of initialisation, order and augmentation.
        keras_sha256: digest of ``model.keras``.
        class_weights: in the loss, by label.
        git_commit: of the code; null outside a checkout.
        seconds: wall time of the epochs.
        config: the training section that it was made with.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_id: str
    name: str
    architecture: str
    best_epoch: int
    epochs: int
    history: tuple[Epoch, ...]
    dataset_digest: Sha256
    training_groups: tuple[str, ...]
    test_groups: tuple[str, ...]
    seed: int
    keras_sha256: Sha256
    class_weights: dict[str, float]
    git_commit: str | None
    seconds: float
    config: dict[str, Any]


def read_training_record(workspace: Workspace) -> TrainingRecord:
    """Read ``models/training.json`` and make sure that ``model.keras`` is the model that it speaks of.

    Raises:
        MissingInput: nothing was trained.
        WorkspaceError: the record is damaged, or the model is another one.
    """
    try:
        record = TrainingRecord.model_validate(files.read_json(workspace.training_record))
        digest = files.sha256_of_file(workspace.keras_model)
    except FileNotFoundError as error:
        message = f"{error.filename} does not exist. Run: deepfake train --workspace {workspace.root}"
        raise MissingInput(message) from None
    except (ValueError, ValidationError) as error:
        message = f"{workspace.training_record} is damaged ({error}). Train again."
        raise WorkspaceError(message) from None
    if digest != record.keras_sha256:
        message = (
            f"{workspace.keras_model} is not the model that {workspace.training_record.name} describes. Train again."
        )
        raise WorkspaceError(message)
    return record


def write_training_record(workspace: Workspace, record: TrainingRecord) -> None:
    """Write ``models/training.json`` atomically; do it after the model is in its place."""
    files.write_json(workspace.training_record, record.model_dump(mode="json"))
