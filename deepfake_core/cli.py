"""``deepfake``: one command a stage, in the order of the data.

Every command prints its progress to stderr and its result to stdout; ``--json`` puts the StageReport alone on stdout.
Exit codes: 0 done; 1 error; 2 usage, configuration or split lists; 3 refused by a gate; 4 done, but some inputs
failed (they are rows with a reason); 130 interrupted.

Commands import the stage they call when they are called: ``deepfake --help`` loads no heavy library.
"""

import json
import os
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated

import typer

from deepfake_core import console, pipeline, receipts
from deepfake_core.command import (
    effective_config,
    finish,
    guarded,
    model_to_score_with,
    open_for_stage,
    run_all,
    with_progress,
)
from deepfake_core.config_file import load_config
from deepfake_core.errors import ConfigError
from deepfake_core.resources import configs_folder
from deepfake_core.workspace import Workspace

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
    with guarded(as_json):
        run_all(workspace, configs_folder() / "demo.yaml", overrides, as_json=as_json, title="deepfake demo")


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
    with guarded(as_json):
        run_all(workspace, config, overrides, as_json=as_json, title="deepfake run")


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
    with guarded(as_json):
        space = Workspace.existing(workspace)
        settings = effective_config(space, config, overrides)
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
    with guarded(False):
        settings = effective_config(Workspace(workspace), config, overrides)
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
    with guarded(as_json):
        from deepfake_core.sample import generate_sample

        settings = load_config(config, overrides or ())
        finish(with_progress(lambda bars: generate_sample(directory, config=settings.sample, progress=bars)), as_json)


def _stage_command(name: str, summary: str) -> None:
    """Add the command of a stage that takes no options of its own."""

    def command(
        config: ConfigOption = None,
        workspace: WorkspaceOption = DEFAULT_WORKSPACE,
        overrides: SetOption = None,
        as_json: JsonOption = False,
    ) -> None:
        with guarded(as_json):
            space, settings = open_for_stage(workspace, config, overrides, stage=name)
            finish(with_progress(lambda bars: pipeline.run_stage(name, space, settings, progress=bars)), as_json)

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

    Example: deepfake download --set download.source=faceforensics --accept-terms
    """
    with guarded(as_json):
        given = [*(overrides or ())]
        given += [f"download.server_url={json.dumps(server)}"] if server is not None else []
        given += [f"download.num_videos={num_videos}"] if num_videos else []
        unused = [*(["--server"] if server is not None else []), *(["--accept-terms"] if accept_terms else [])]
        source = effective_config(Workspace(workspace), config, given).download.source
        if unused and source != "faceforensics":
            message = (
                f"{' and '.join(unused)} would change nothing: download.source is {source!r}, which asks no server. "
                "Add: --set download.source=faceforensics"
            )
            raise ConfigError(message)
        space, settings = open_for_stage(workspace, config, given, stage="download")
        if accept_terms:
            from deepfake_core.data.download import accept_terms as accept

            accept(space)
        finish(with_progress(lambda bars: pipeline.run_stage("download", space, settings, progress=bars)), as_json)


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
    with guarded(as_json):
        space, settings = open_for_stage(workspace, config, overrides, stage="extract")
        report = with_progress(lambda bars: pipeline.run_stage("extract", space, settings, progress=bars))
        if export_images:
            from deepfake_core.data.extract import export_images as export

            with_progress(lambda bars: export(space, export_images, progress=bars))
        finish(report, as_json)


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
    with guarded(as_json):
        space, settings = open_for_stage(workspace, config, overrides, stage="records")
        report = with_progress(lambda bars: pipeline.run_stage("records", space, settings, progress=bars))
        if verify:
            from deepfake_core.data.records import verify_records

            report = with_progress(lambda bars: verify_records(space, progress=bars))
        finish(report, as_json)


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
    with guarded(as_json):
        from deepfake_core.serving.gate import promote_model

        space, settings = open_for_stage(workspace, config, overrides, stage="promote")
        report = with_progress(
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
        finish(report, as_json)


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
    with guarded(as_json):
        from deepfake_core.serving.score import score_videos

        given = [*(overrides or ())]
        given += [f"score.device={device}"] if device else []
        given += [f"score.weights={json.dumps(str(weights))}"] if weights else []
        space = Workspace.open(workspace)
        settings = effective_config(space, config, given)
        onnx, name, version = model_to_score_with(space, settings, model)
        report = with_progress(
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
        finish(report, as_json)


@app.command(rich_help_panel=MODELS)
def models(
    config: ConfigOption = None, workspace: WorkspaceOption = DEFAULT_WORKSPACE, as_json: JsonOption = False
) -> None:
    """List the versions of the registered model, their aliases and test metrics.

    Example: deepfake models --workspace workspace
    """
    with guarded(as_json):
        from deepfake_core.serving.registry import list_models

        space = Workspace.existing(workspace)
        settings = effective_config(space, config, None)
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
    with guarded(as_json):
        from deepfake_core.serving.registry import rollback_model

        space = Workspace.existing(workspace)
        settings = effective_config(space, config, None)
        finish(rollback_model(space, config=settings.register_, tracking=settings.tracking, reason=reason), as_json)


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


if __name__ == "__main__":
    main()
