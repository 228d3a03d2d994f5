"""Hold the data against the expectation suites, before anything is learnt from it.

Reads the tables of download, split and extraction, aggregates them to the grains on which quality is judged
(``grains.py``), runs the Great Expectations suites over them (``suites.py``), and writes the results as a table, as
JSON and as an HTML report. The verdict comes from Great Expectations alone: a failed critical expectation refuses the
data, a failed warning is noted. The report is written either way.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa

from deepfake_core import files, receipts, resources, tables
from deepfake_core.config import ValidateConfig
from deepfake_core.data.checks import Check, to_table
from deepfake_core.data.culprits import with_examples
from deepfake_core.data.grains import FACE_COLUMNS, Grains, build_grains
from deepfake_core.data.quality_report import write_quality_report
from deepfake_core.data.suites import Suite, digest_of, load_suites, run_suite
from deepfake_core.errors import DataQualityError, MissingInput, WorkspaceError
from deepfake_core.progress import SILENT, Bar, Progress
from deepfake_core.report import StageReport
from deepfake_core.specs import SamplingSpec
from deepfake_core.workspace import Workspace

FILE_THREADS = 16
"""Opening a Parquet footer waits for the disk, not for the processor."""
EXAMPLES_TOLD = 2
"""Culprits of each failed check that a refusal names; the results name a few more, the report shows them."""


def validate_data(workspace: Workspace, *, config: ValidateConfig, progress: Progress = SILENT) -> StageReport:
    """Judge the data; refuse it when a critical expectation fails.

    Args:
        workspace: holds the tables; receives ``reports/quality``.
        config: the thresholds, and the folder of the suites where it is not the platform's own.
        progress: shows a bar of the work.

    Returns:
        Counts of checks passed, warned and refused, notes on each warning, and the results as a table.

    Raises:
        DataQualityError: a critical expectation failed; its report has been written.
        ConfigError: a suite cannot be understood.
        MissingInput, StaleInput: an earlier stage has to run first.
    """
    suites = load_suites(config.suites or resources.expectations_folder(), config=config)
    external = {"suites": digest_of(suites)}
    with receipts.open_stage(workspace, "validate", config=config, external=external) as work:
        if work.found and workspace.quality_report.is_file():
            return work.found
        with progress.bar("Check the data", total=len(suites) + 3, unit="steps") as bar:
            grains = read_grains(workspace, check_files=config.check_files, bar=bar)
            checks = _run(suites, grains, config=config, bar=bar)
            _write_results(workspace, checks)
            write_quality_report(workspace, suites=suites, checks=checks, grains=grains)
            bar.advance()
        report = _report(workspace, checks, grains)
        refuse_failures(checks, report=str(workspace.quality_report))
        return work.finish(report, outputs=[workspace.quality_results])


def refuse_failures(checks: Sequence[Check], *, report: str) -> None:
    """Raise when a critical expectation failed.

    Raises:
        DataQualityError: names each one with what was seen, what was allowed, what to do, and two culprits.
    """
    failed = [check for check in checks if check.refuses]
    if not failed:
        return
    lines = []
    for check in failed:
        lines.append(f"- {check.name} ({check.suite}): {check.observed}; allowed: {check.threshold}. {check.advice}")
        lines += [f"    {example}" for example in check.examples[:EXAMPLES_TOLD]]
    count = f"{len(failed)} critical expectation{'s' if len(failed) > 1 else ''}"
    message = f"the data is refused, {count} failed:\n" + "\n".join(lines) + f"\nSee the report: {report}"
    raise DataQualityError(message)


def read_grains(workspace: Workspace, *, check_files: bool, bar: Bar) -> Grains:
    """Read the tables and aggregate them.

    Args:
        workspace: whose tables.
        check_files: open each per-video file too and compare its rows with the tables.
        bar: advanced by two steps.
    """
    videos = tables.read(workspace.videos_table, schema=tables.VIDEOS)
    extractions = tables.read(workspace.extractions_table, schema=tables.EXTRACTIONS)
    faces = tables.read(workspace.faces_index, schema=tables.FACES_INDEX, columns=FACE_COLUMNS)
    problems = find_file_problems(workspace, extractions) if check_files else {}
    bar.advance()
    grains = build_grains(
        videos,
        splits=tables.read(workspace.splits_table, schema=tables.SPLITS),
        extractions=extractions,
        faces=faces,
        sampling=_sampling_of(workspace),
        file_problems=problems,
    )
    bar.advance()
    return grains


def find_file_problems(workspace: Workspace, extractions: pa.Table) -> dict[str, str]:
    """Open the footer of every per-video file; return what is wrong, by video id.

    A file must be there for each video with a digest, be of this version, and have a row for each sampled frame.
    """
    columns = [extractions[name].to_pylist() for name in ("video_id", "faces", "no_face", "digest")]
    expected = {
        video_id: (faces or 0) + (no_face or 0)
        for video_id, faces, no_face, digest in zip(*columns, strict=True)
        if digest is not None
    }

    def problem(video_id: str) -> str | None:
        try:
            rows = tables.check(workspace.faces_of(video_id), schema=tables.FACES)
        except MissingInput:
            return "the file is gone"
        except (WorkspaceError, OSError) as error:
            return str(error)
        wanted = expected[video_id]
        return None if rows == wanted else f"the file has {rows} rows, the extractions table counted {wanted}"

    with ThreadPoolExecutor(FILE_THREADS) as pool:
        found = zip(expected, pool.map(problem, expected), strict=True)
        return {video_id: text for video_id, text in found if text}


def _sampling_of(workspace: Workspace) -> SamplingSpec:
    """Return on which frames the extraction looked, from its receipt: it alone knows what was done."""
    return SamplingSpec.model_validate(receipts.require_done(workspace, "extract").config["sampling"])


def _run(suites: Sequence[Suite], grains: Grains, *, config: ValidateConfig, bar: Bar) -> tuple[Check, ...]:
    checks: list[Check] = []
    for suite in suites:
        bar.say(suite.name)
        checks += [with_examples(check, grains) for check in run_suite(suite, grains, config=config)]
        bar.advance()
    return tuple(checks)


def _write_results(workspace: Workspace, checks: Sequence[Check]) -> None:
    table = to_table(checks)
    tables.write(workspace.quality_results, table, schema=tables.QUALITY)
    files.write_json(workspace.quality_results.with_suffix(".json"), table.to_pylist())


def _report(workspace: Workspace, checks: Sequence[Check], grains: Grains) -> StageReport:
    warnings = [check for check in checks if check.warns]
    return StageReport(
        stage="validate",
        counts={
            "checks": len(checks),
            "passed": sum(check.passed for check in checks),
            "warnings": len(warnings),
            "videos": len(grains.videos),
            "faces": len(grains.faces),
        },
        notes=tuple(f"warning: {check.name}: {check.observed}; allowed: {check.threshold}" for check in warnings),
        table=tuple(
            {
                "check": check.name,
                "result": "passed" if check.passed else check.severity,
                "observed": check.observed,
                "allowed": check.threshold,
            }
            for check in checks
        ),
        outputs={"quality report": str(workspace.quality_report), "results": str(workspace.quality_results)},
    )
