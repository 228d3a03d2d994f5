"""Every error that the platform raises on purpose, and the exit code each one ends a command with.

::

    DeepfakeError                       1   something broke
    ├── ConfigError                     2   a configuration or an argument is wrong
    ├── WorkspaceError                  2   the folder is not a workspace of this version
    ├── SplitError                      2   the split lists and the videos do not fit each other
    ├── TermsNotAccepted                2   a data set's terms of use were not accepted
    ├── MissingInput                    1   an earlier stage has not run
    ├── StaleInput                      1   an earlier stage must run again
    ├── WorkspaceBusy                   1   another process works on the same stage
    ├── MediaError                      1   a video cannot be read (becomes a row, never ends a run)
    ├── DownloadError                   1   a server or a source folder gives no files
    ├── WeightsError                    1   detector weights are missing or not the pinned ones
    ├── ContractError                   1   an ONNX file carries no contract, or not its own
    ├── DeviceError                     1   the requested device is not the one that would run
    ├── RegistryError                   1   a registry has no such model, version or alias
    ├── TrainingError                   1   a training cannot go on
    ├── TrackingError                   1   MLflow does not answer, or has no such run
    ├── UndefinedMetric                 1   a metric has no value on what it was given
    └── GateRefused                     3   a gate did its work
        ├── DataQualityError            3
        ├── TornGroupError              3
        ├── ParityError                 3
        └── PromotionRefused            3

Exit code 0 is "done"; 4 is "done, but some inputs failed" and is no exception: those inputs are rows with a reason.
"""


class DeepfakeError(Exception):
    """Base of all deliberate errors; its message says what was found, what was expected and what to do."""

    exit_code = 1


class ConfigError(DeepfakeError):
    """A configuration value, key or argument is wrong."""

    exit_code = 2


class WorkspaceError(DeepfakeError):
    """A folder is not a workspace, or one of another schema version."""

    exit_code = 2


class SplitError(DeepfakeError):
    """The split lists and the videos at hand do not fit each other."""

    exit_code = 2


class TermsNotAccepted(DeepfakeError):
    """A data set may be downloaded only by those who accepted its terms of use."""

    exit_code = 2


class MissingInput(DeepfakeError):
    """A stage was asked for before the stages it reads have run."""


class StaleInput(DeepfakeError):
    """A stage was asked for while a stage it reads no longer matches its own inputs."""


class WorkspaceBusy(DeepfakeError):
    """Another process holds the lock of the same stage of the same workspace."""


class MediaError(DeepfakeError):
    """A video cannot be opened or decoded; the one place that catches it turns it into a row with this reason."""


class DownloadError(DeepfakeError):
    """A server or a source folder gives no usable files at all."""


class WeightsError(DeepfakeError):
    """Detector weights are missing, or their SHA-256 is not the pinned one."""


class ContractError(DeepfakeError):
    """An ONNX file carries no ModelContract, one of another version, or one that belongs to another graph."""


class DeviceError(DeepfakeError):
    """The requested execution provider is not the one that would run the model."""


class RegistryError(DeepfakeError):
    """The registry holds no such model, version or alias."""


class TrainingError(DeepfakeError):
    """A training cannot go on, because its loss is no longer a number."""


class TrackingError(DeepfakeError):
    """The tracking server does not answer, or knows no such run."""


class UndefinedMetric(DeepfakeError):
    """A metric has no value on what it was given, such as the AUC of one class."""


class GateRefused(DeepfakeError):
    """A gate did its work; the base of all refusals."""

    exit_code = 3


class DataQualityError(GateRefused):
    """A critical expectation on the data failed."""


class TornGroupError(GateRefused):
    """People of one group stand on both sides of a split."""


class ParityError(GateRefused):
    """The exported model does not compute what the trained model computes."""


class PromotionRefused(GateRefused):
    """A candidate model did not pass the gate in front of production."""
