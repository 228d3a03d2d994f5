"""``deepfake``: one command a stage, in the order of the data.

Every command prints its progress to stderr and its result to stdout; ``--json`` puts the StageReport alone on stdout.
Exit codes: 0 done; 1 error; 2 usage, configuration or split lists; 3 refused by a gate; 4 done, but some inputs
failed (they are rows with a reason); 130 interrupted.

Commands import the stage they call when they are called: ``deepfake --help`` loads no heavy library.
"""

import json
import os
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated, Any

import typer

from deepfake_core import console, pipeline, receipts
from deepfake_core.config import Config, load_config
from deepfake_core.errors import ConfigError, DeepfakeError
from deepfake_core.progress import Progress
from deepfake_core.report import StageReport
from deepfake_core.resources import configs_folder
from deepfake_core.workspace import Workspace

SOME_INPUTS_FAILED = 4
INTERRUPTED = 130

app = typer.Typer(
    name="deepfake",
    help="From FaceForensics++ videos to a gated deepfake detector in production, and batch scores.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

WHOLE, STAGES, MODELS = "The whole way", "Stages, in the order of the data", "Models in production"

WorkspaceOption = Annotated[
    Path, typer.Option("--workspace", "-w", help="Folder that holds everything made; created when needed.")
]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="YAML file. Without it: the configuration this workspace used last."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="SECTION.KEY=VALUE", help="Override a value; may be repeated."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the StageReport as JSON on stdout, and nothing else.")]
DEFAULT_WORKSPACE = Path("workspace")

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


@app.callback(invoke_without_command=True)
def _deepfake(
    show_version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if show_version:
        console.write_stdout(installed_version("deepfake-platform"))
        raise typer.Exit


@app.command(rich_help_panel=WHOLE)
def demo(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE, overrides: SetOption = None, as_json: JsonOption = False
) -> None:
    """Run the whole way on the embedded data set: no GPU, no account, no network, a few minutes.

    Example: deepfake demo --workspace workspace
    """
    with _guarded(as_json):
        _run_all(workspace, configs_folder() / "demo.yaml", overrides, as_json=as_json, title="deepfake demo")


@app.command(rich_help_panel=WHOLE)
def run(
    config: ConfigOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run every stage in order; finished stages are found, not done again.

    Example: deepfake run --config deploy/configs/real-sample.yaml --workspace workspace
    """
    with _guarded(as_json):
        _run_all(workspace, config, overrides, as_json=as_json, title="deepfake run")


@app.command(rich_help_panel=WHOLE)
def status(
    config: ConfigOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show each stage as done, stale, partial or missing, and why.

    Example: deepfake status --workspace workspace
    """
    with _guarded(as_json):
        space = Workspace.existing(workspace)
        settings = _settings(space, config, overrides, remember=False)
        states = [
            receipts.state_of(space, name, config=settings.section(name)) for name in pipeline.stage_names(settings)
        ]
        if as_json:
            rows = [{"stage": state.stage, "state": state.state, "why": state.why} for state in states]
            console.write_stdout(json.dumps(rows, indent=2))
        else:
            console.show_states(states)


@app.command(rich_help_panel=WHOLE)
def config(
    config: ConfigOption = None, workspace: WorkspaceOption = DEFAULT_WORKSPACE, overrides: SetOption = None
) -> None:
    """Print the effective configuration as YAML.

    Example: deepfake config --config deploy/configs/demo.yaml --set train.epochs=3
    """
    with _guarded(False):
        settings = _settings(Workspace(workspace), config, overrides, remember=False)
        console.write_stdout(settings.to_yaml().rstrip())


@app.command("sample-data", rich_help_panel=WHOLE)
def sample_data(
    directory: Annotated[Path, typer.Argument(help="Where the FaceForensics++-shaped tree is written.")],
    config: ConfigOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Generate the embedded data set on its own: synthetic talking heads and four kinds of fakes.

    Example: deepfake sample-data videos --set sample.identities=12
    """
    with _guarded(as_json):
        from deepfake_core.sample import generate_sample

        settings = load_config(config, overrides or ())
        _finish(_with_progress(lambda bars: generate_sample(directory, config=settings.sample, progress=bars)), as_json)


def _stage_command(name: str, summary: str) -> None:
    """Add the command of a stage that takes no options of its own."""

    def command(
        config: ConfigOption = None,
        workspace: WorkspaceOption = DEFAULT_WORKSPACE,
        overrides: SetOption = None,
        as_json: JsonOption = False,
    ) -> None:
        with _guarded(as_json):
            space, settings = _opened(workspace, config, overrides, stage=name)
            _finish(_with_progress(lambda bars: pipeline.run_stage(name, space, settings, progress=bars)), as_json)

    example = f"Example: deepfake {name} --config deploy/configs/demo.yaml --workspace workspace"
    command.__doc__ = f"{summary}\n\n{example}"
    app.command(name, rich_help_panel=STAGES)(command)


@app.command(rich_help_panel=STAGES)
def download(
    config: ConfigOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    overrides: SetOption = None,
    server: Annotated[str | None, typer.Option(help="Base URL that replaces the published servers.")] = None,
    num_videos: Annotated[int | None, typer.Option(min=1, help="At most this many videos a set.")] = None,
    accept_terms: Annotated[
        bool, typer.Option("--accept-terms", help="Accept the terms of use of FaceForensics++ (remembered).")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Get the videos and verify each one by decoding.

    Example: deepfake download --config deploy/configs/production.yaml --accept-terms
    """
    with _guarded(as_json):
        given = [*(overrides or ())]
        given += [f"download.server_url={json.dumps(server)}"] if server else []
        given += [f"download.num_videos={num_videos}"] if num_videos else []
        space, settings = _opened(workspace, config, given, stage="download")
        if accept_terms:
            from deepfake_core.data.download import accept_terms as accept

            accept(space)
        _finish(_with_progress(lambda bars: pipeline.run_stage("download", space, settings, progress=bars)), as_json)


_stage_command("split", "Give whole groups of people to train, val and test.")


@app.command(rich_help_panel=STAGES)
def extract(
    config: ConfigOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    overrides: SetOption = None,
    export_images: Annotated[
        Path | None, typer.Option(help="Also write the crops as a folder of JPEG files for people to look at.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Find, follow and crop the faces of every video.

    Example: deepfake extract --workspace workspace --export-images crops
    """
    with _guarded(as_json):
        space, settings = _opened(workspace, config, overrides, stage="extract")
        report = _with_progress(lambda bars: pipeline.run_stage("extract", space, settings, progress=bars))
        if export_images:
            from deepfake_core.data.extract import export_images as export

            _with_progress(lambda bars: export(space, export_images, progress=bars))
        _finish(report, as_json)


_stage_command("validate", "Hold the data against the Great Expectations suites; refuse what must not be trained on.")


@app.command(rich_help_panel=STAGES)
def records(
    config: ConfigOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    overrides: SetOption = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read every record again and prove that each face is there exactly once.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write the faces as TFRecord shards, each face exactly once.

    Example: deepfake records --workspace workspace --verify
    """
    with _guarded(as_json):
        space, settings = _opened(workspace, config, overrides, stage="records")
        report = _with_progress(lambda bars: pipeline.run_stage("records", space, settings, progress=bars))
        if verify:
            from deepfake_core.data.records import verify_records

            report = _with_progress(lambda bars: verify_records(space, progress=bars))
        _finish(report, as_json)


_stage_command("train", "Train the Xception; the best epoch is chosen on validation.")
_stage_command("export", "Export to ONNX with its contract inside, and prove parity with Keras.")
_stage_command("evaluate", "Score the test split with the exported model, once, and report.")
_stage_command("register", "Register the exported model in MLflow under the alias challenger.")


@app.command(rich_help_panel=STAGES)
def promote(
    config: ConfigOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    overrides: SetOption = None,
    version: Annotated[str | None, typer.Option(help="Version to promote; default: the challenger.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Promote although the gate refuses; needs --reason.")] = False,
    reason: Annotated[str | None, typer.Option(help="Why; kept with the version.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Let a version through the gate to production, or refuse it with exit code 3.

    Example: deepfake promote --workspace workspace --reason "more NeuralTextures data"
    """
    with _guarded(as_json):
        from deepfake_core.serving.gate import promote_model

        space, settings = _opened(workspace, config, overrides, stage="promote")
        report = _with_progress(
            lambda bars: promote_model(
                space,
                config=settings.promote,
                register=settings.register_,
                tracking=settings.tracking,
                version=version,
                force=force,
                reason=reason,
                progress=bars,
            )
        )
        _finish(report, as_json)


@app.command(rich_help_panel=MODELS)
def score(
    paths: Annotated[list[Path], typer.Argument(help="Videos, or folders that are searched for videos.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Table to write: .parquet, .csv or .jsonl.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Registry URI (models:/name@alias) or .onnx file; default: production of the workspace."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; asked for CUDA means CUDA.")] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Weights of the model's face detector, where they are not cached yet.")
    ] = None,
    config: ConfigOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score videos: a row with a verdict, or a reason, for every one of them.

    Example: deepfake score incoming/ --output verdicts.csv
    """
    with _guarded(as_json):
        from deepfake_core.serving.score import score_videos

        given = [*(overrides or ())]
        given += [f"score.device={device}"] if device else []
        given += [f"score.weights={json.dumps(str(weights))}"] if weights else []
        space = Workspace.open(workspace)
        settings = _settings(space, config, given, remember=False)
        onnx, name, version = _model_of(space, settings, model)
        report = _with_progress(
            lambda bars: score_videos(
                paths,
                model=onnx,
                output=output or space.scores / "scores.parquet",
                config=settings.score,
                folder=space.scores,
                model_name=name,
                model_version=version,
                progress=bars,
            )
        )
        _finish(report, as_json)


@app.command(rich_help_panel=MODELS)
def models(
    config: ConfigOption = None, workspace: WorkspaceOption = DEFAULT_WORKSPACE, as_json: JsonOption = False
) -> None:
    """List the versions of the registered model, their aliases and test metrics.

    Example: deepfake models --workspace workspace
    """
    with _guarded(as_json):
        from deepfake_core.serving.registry import list_models

        space = Workspace.existing(workspace)
        settings = _settings(space, config, None, remember=False)
        rows = list_models(space, config=settings.register_, tracking=settings.tracking)
        if as_json:
            console.write_stdout(json.dumps(rows, indent=2, default=str))
        else:
            console.show_rows(rows)


@app.command(rich_help_panel=MODELS)
def rollback(
    reason: Annotated[str, typer.Option(help="Why; kept with the versions.")],
    config: ConfigOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    as_json: JsonOption = False,
) -> None:
    """Put the previous version back into production.

    Example: deepfake rollback --workspace workspace --reason "false alarms on interviews"
    """
    with _guarded(as_json):
        from deepfake_core.serving.registry import rollback_model

        space = Workspace.existing(workspace)
        settings = _settings(space, config, None, remember=False)
        _finish(rollback_model(space, config=settings.register_, tracking=settings.tracking, reason=reason), as_json)


def main() -> None:
    """Entry point of the console script."""
    _calm_the_libraries()
    app()


def _calm_the_libraries() -> None:
    """Turn off telemetry and start-up noise, before any of these libraries is imported."""
    for name, value in {
        "DO_NOT_TRACK": "true",
        "GX_ANALYTICS_ENABLED": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_ENABLE_ONEDNN_OPTS": "1",
        "YOLO_AUTOINSTALL": "false",
    }.items():
        os.environ.setdefault(name, value)


@contextmanager
def _guarded(as_json: bool) -> Iterator[None]:
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


def _settings(space: Workspace, path: Path | None, overrides: list[str] | None, *, remember: bool) -> Config:
    """Return the effective configuration: the given file, else what the workspace used last, else the defaults."""
    if path is None and space.config_file.is_file():
        path = space.config_file
    settings = load_config(path, overrides or ())
    if remember:
        from deepfake_core import files

        files.write_text(space.config_file, settings.to_yaml())
    return settings


def _opened(workspace: Path, path: Path | None, overrides: list[str] | None, *, stage: str) -> tuple[Workspace, Config]:
    """Open the workspace for one stage, and refuse inputs that were made under another configuration."""
    space = Workspace.open(workspace)
    settings = _settings(space, path, overrides, remember=True)
    from deepfake_core.stages import stage_named

    for read in stage_named(stage).reads:
        receipts.require_done(space, read, config=settings.section(read))
    return space, settings


def _model_of(space: Workspace, settings: Config, model: str | None) -> tuple[Path, str | None, str | None]:
    if model is not None and not model.startswith("models:"):
        path = Path(model)
        if path.suffix != ".onnx":
            message = f"--model takes a registry URI (models:/name@alias) or an .onnx file. Received: {model!r}"
            raise ConfigError(message)
        return path, None, None
    from deepfake_core.serving.registry import resolve_model

    found = resolve_model(space, uri=model, config=settings.register_, tracking=settings.tracking)
    return found.path, found.name, found.version


def _with_progress(work: Callable[[Progress], StageReport]) -> StageReport:
    with console.progress_bars() as bars:
        return work(bars)


def _finish(report: StageReport, as_json: bool) -> None:
    console.show_stage_line(report)
    if as_json:
        console.write_stdout(json.dumps(report.to_json(), indent=2))
    else:
        console.show_report(report)
    if report.failed:
        raise typer.Exit(SOME_INPUTS_FAILED)


def _run_all(workspace: Path, path: Path | None, overrides: list[str] | None, *, as_json: bool, title: str) -> None:
    began = time.monotonic()
    space = Workspace.open(workspace)
    settings = _settings(space, path, overrides, remember=True)
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


if __name__ == "__main__":
    main()
