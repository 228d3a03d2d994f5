"""What every command does around its stage: find its configuration, show progress, print the result, end with a code.

Deliberate errors become one message and the exit code of their class; whatever else happens keeps its traceback.
"""

import json
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from deepfake_core import console, files, pipeline, receipts
from deepfake_core.config import Config
from deepfake_core.config_file import load_config
from deepfake_core.errors import ConfigError, DeepfakeError
from deepfake_core.progress import Progress
from deepfake_core.report import StageReport
from deepfake_core.stages import stage_named
from deepfake_core.workspace import Workspace

SOME_INPUTS_FAILED = 4
INTERRUPTED = 130

_EXTRA_OF = {
    "great_expectations": "train",
    "matplotlib": "train",
    "mlflow": "registry",
    "networkx": "train",
    "pandas": "train",
    "prefect": "flows",
    "sklearn": "train",
    "tensorflow": "train",
    "tf2onnx": "train",
    "ultralytics": "yolo",
}


@contextmanager
def guarded(as_json: bool) -> Iterator[None]:
    """Turn deliberate errors into one message and the exit code of their class."""
    try:
        yield
    except DeepfakeError as error:
        _show_failure(str(error), type(error).__name__, as_json)
        raise typer.Exit(error.exit_code) from error
    except ModuleNotFoundError as error:
        extra = _EXTRA_OF.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        message = f"this command needs {error.name}, which the extra '{extra}' brings: "
        _show_failure(message + f"pip install 'deepfake-platform[{extra}]'", "MissingExtra", as_json)
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        _show_failure("interrupted; run the same command again to go on where it stopped.", "Interrupted", as_json)
        raise typer.Exit(INTERRUPTED) from None
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        message = f"{place}{error.strerror or error}. Nothing finished is lost: mend it and run the same command again."
        _show_failure(message, type(error).__name__, as_json)
        raise typer.Exit(1) from error


def _show_failure(message: str, kind: str, as_json: bool) -> None:
    console.show_error(message)
    if as_json:
        console.write_stdout(json.dumps({"error": kind, "message": message}))


def effective_config(space: Workspace, path: Path | None, overrides: list[str] | None) -> Config:
    """Return the effective configuration: the given file, else what the workspace used last, else the defaults."""
    if path is None and space.config_file.is_file():
        path = space.config_file
    return load_config(path, overrides or ())


def _remember(space: Workspace, settings: Config) -> None:
    files.write_text(space.config_file, settings.to_yaml())


def open_for_stage(
    workspace: Path, path: Path | None, overrides: list[str] | None, *, stage: str
) -> tuple[Workspace, Config]:
    """Open the workspace for one stage, and refuse inputs that were made under another configuration."""
    space = Workspace.open(workspace)
    settings = effective_config(space, path, overrides)
    for read in stage_named(stage).reads:
        receipts.require_done(space, read, config=settings.section(read))
    _remember(space, settings)
    return space, settings


def model_to_score_with(space: Workspace, settings: Config, model: str | None) -> tuple[Path, str | None, str | None]:
    """Return path, name and version of the model that ``--model`` means; an .onnx file has neither of the latter."""
    if model is not None and not model.startswith("models:"):
        path = Path(model)
        if path.suffix != ".onnx":
            message = f"--model takes a registry URI (models:/name@alias) or an .onnx file. Received: {model!r}"
            raise ConfigError(message)
        return path, None, None
    from deepfake_core.serving.registry import resolve_model

    found = resolve_model(space, uri=model, config=settings.register_, tracking=settings.tracking)
    return found.path, found.name, found.version


def with_progress(work: Callable[[Progress], StageReport]) -> StageReport:
    """Do work that reports its progress, and show it."""
    with console.progress_bars() as bars:
        return work(bars)


def finish(report: StageReport, as_json: bool) -> None:
    """Print the report of one stage; end with 4 where some inputs failed."""
    console.show_stage_line(report)
    if as_json:
        console.write_stdout(json.dumps(report.to_json(), indent=2))
    else:
        console.show_report(report)
    if report.failed:
        raise typer.Exit(SOME_INPUTS_FAILED)


def run_all(workspace: Path, path: Path | None, overrides: list[str] | None, *, as_json: bool, title: str) -> None:
    """Run the whole way, print each stage as it ends and a summary; end with 4 where some inputs failed."""
    began = time.monotonic()
    space = Workspace.open(workspace)
    settings = effective_config(space, path, overrides)
    _remember(space, settings)
    reports: list[StageReport] = []
    with console.progress_bars() as bars:
        for report in pipeline.run_pipeline(space, settings, progress=bars):
            console.show_stage_line(report)
            reports.append(report)
    seconds = time.monotonic() - began
    if as_json:
        rows: dict[str, Any] = {"seconds": seconds, "stages": [report.to_json() for report in reports]}
        console.write_stdout(json.dumps(rows, indent=2))
    else:
        console.show_summary(reports, title=title, seconds=seconds, next_steps=_next_steps(space, settings))
    if any(report.failed for report in reports):
        raise typer.Exit(SOME_INPUTS_FAILED)


def _next_steps(space: Workspace, settings: Config) -> Iterator[tuple[str, str]]:
    from deepfake_core.serving.registry import resolve_model
    from deepfake_core.tracking import public_uri, tracking_uri

    found = resolve_model(space, uri=None, config=settings.register_, tracking=settings.tracking)
    yield "in production", f"{found.name} version {found.version}"
    for what, page in (
        ("data quality", space.quality_report),
        ("split and leaks", space.leak_report),
        ("evaluation", space.evaluation / "index.html"),
        ("promotions", space.promotions),
        ("scores", space.scores / "scores.parquet"),
    ):
        if page.exists():
            yield what, str(page)
    uri = public_uri(tracking_uri(space, config=settings.tracking))
    yield "runs and models", f"mlflow ui --backend-store-uri {shlex.quote(uri)}"
    yield "score a video", f"deepfake score VIDEO --workspace {shlex.quote(str(space.root))} --output scores.csv"
