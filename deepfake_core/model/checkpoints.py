"""The state of a training under way, from which a killed one goes on at its next epoch.

Weights and optimizer are written first, ``state.json`` last and in one step, so a reader finds either the last
finished epoch or the one before. A state belongs to one fingerprint: after a change of data or configuration it is
thrown away.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from deepfake_core import files

Arrays = list[np.ndarray[Any, Any]]


class Epoch(BaseModel):
    """What one epoch gave.

    Attributes:
        epoch: its number, from 1.
        loss: mean over the training batches, weighted and smoothed as configured.
        val_loss: binary cross-entropy of the validation faces, neither weighted nor smoothed.
        val_auc: area under the ROC curve of the validation faces.
        learning_rate: of its last step.
        images_per_second: of its training part; differs from run to run.
        seconds: its wall time, validation and checkpoint included; differs from run to run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epoch: int
    loss: float
    val_loss: float
    val_auc: float
    learning_rate: float
    images_per_second: float
    seconds: float


class State(BaseModel):
    """Where a training stands.

    Attributes:
        fingerprint: of the model that is being made.
        run_id: MLflow run that it is logged to.
        history: its finished epochs.
        best_epoch: the one to keep; 0 before the first.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fingerprint: str
    run_id: str
    history: tuple[Epoch, ...] = ()
    best_epoch: int = 0


class Checkpoints:
    """The folder of one training under way."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, fingerprint: str) -> State | None:
        """Return where the training of ``fingerprint`` stands; None where it has not begun, or its files are gone."""
        try:
            state = State.model_validate(files.read_json(self._state))
        except (FileNotFoundError, ValueError, ValidationError):
            return None
        last = state.history[-1].epoch if state.history else 0
        wanted = [self._weights(last), self._optimizer(last), self._weights(state.best_epoch)] if last else []
        whole = all(path.is_file() for path in wanted)
        return state if whole and state.fingerprint == fingerprint else None

    def begin(self, state: State) -> None:
        """Clear the folder and remember that a training began, and in which run."""
        self.remove()
        files.write_json(self._state, state.model_dump(mode="json"))

    def save(self, state: State, model: keras.Model, optimizer: keras.Optimizer) -> None:
        """Remember the end of an epoch; then remove the files that are no longer needed."""
        epoch = state.history[-1].epoch
        _write_arrays(self._weights(epoch), model.get_weights())
        _write_arrays(self._optimizer(epoch), [np.asarray(variable) for variable in optimizer.variables])
        files.write_json(self._state, state.model_dump(mode="json"))
        keep = {self._weights(epoch), self._optimizer(epoch), self._weights(state.best_epoch), self._state}
        for path in set(self._folder.iterdir()) - keep:
            path.unlink()

    def restore(self, state: State, model: keras.Model, optimizer: keras.Optimizer) -> None:
        """Bring model and optimizer back to the end of the last finished epoch."""
        epoch = state.history[-1].epoch
        model.set_weights(_read_arrays(self._weights(epoch)))
        for variable, value in zip(optimizer.variables, _read_arrays(self._optimizer(epoch)), strict=True):
            variable.assign(value)

    def restore_best(self, state: State, model: keras.Model) -> None:
        """Give ``model`` the weights of the best epoch."""
        model.set_weights(_read_arrays(self._weights(state.best_epoch)))

    def remove(self) -> None:
        """Remove the folder with everything in it."""
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _state(self) -> Path:
        return self._folder / "state.json"

    def _weights(self, epoch: int) -> Path:
        return self._folder / f"weights-{epoch:04d}.npz"

    def _optimizer(self, epoch: int) -> Path:
        return self._folder / f"optimizer-{epoch:04d}.npz"


def _write_arrays(path: Path, arrays: Sequence[np.ndarray[Any, Any]]) -> None:
    with files.replacing(path) as temporary:
        np.savez(temporary, *arrays)


def _read_arrays(path: Path) -> Arrays:
    with np.load(path) as stored:
        return [stored[f"arr_{index}"] for index in range(len(stored.files))]
