"""From nothing to verdicts in one command, and what that leaves behind."""

import shutil
from pathlib import Path

import mlflow
import pyarrow.parquet as pq
import pytest
from mlflow.tracking import MlflowClient

from deepfake_core import files, receipts, tables
from deepfake_core.config_file import load_config
from deepfake_core.contract import read_contract
from deepfake_core.pipeline import stage_names
from deepfake_core.tracking import connect


def test_one_command_runs_every_stage_once(finished, tiny_config: Path):
    reports = finished.ended.json["stages"]

    assert [report["stage"] for report in reports] == list(stage_names(load_config(tiny_config)))
    assert {report["outcome"] for report in reports} == {"done"}
    assert all(report["failed"] == 0 for report in reports)


def test_every_video_is_a_row_of_every_table_that_counts_videos(finished):
    workspace = finished.workspace
    made = {path.stem for path in workspace.videos.rglob("*.mp4")}
    videos = tables.read(workspace.videos_table, schema=tables.VIDEOS)
    ids = set(videos["video_id"].to_pylist())

    assert videos.num_rows == 12 * 2 * 5
    assert set(videos["name"].to_pylist()) == made
    assert set(tables.read(workspace.splits_table, schema=tables.SPLITS)["video_id"].to_pylist()) == ids
    assert set(tables.read(workspace.extractions_table, schema=tables.EXTRACTIONS)["video_id"].to_pylist()) == ids


def test_no_person_stands_on_both_sides_of_a_split(finished):
    workspace = finished.workspace
    split_of = {
        row["video_id"]: row["split"] for row in tables.read(workspace.splits_table, schema=tables.SPLITS).to_pylist()
    }
    seen: dict[str, set[str]] = {}
    for row in tables.read(workspace.videos_table, schema=tables.VIDEOS).to_pylist():
        for person in {row["target"], row["source"] or row["target"]}:
            seen.setdefault(person, set()).add(split_of[row["video_id"]])

    assert len(seen) == 12
    assert all(len(splits) == 1 for splits in seen.values())


def test_the_records_hold_exactly_the_faces_that_were_found(finished):
    workspace = finished.workspace
    extractions = tables.read(workspace.extractions_table, schema=tables.EXTRACTIONS)
    index = files.read_json(workspace.records_index)

    assert sum(split["faces"] for split in index["splits"].values()) == sum(extractions["faces"].to_pylist())
    for split in index["splits"].values():
        assert set(split["classes"]) == {"0", "1"}
        assert all(count > 0 for count in split["classes"].values())


def test_the_exported_model_carries_how_its_crops_were_made(finished, tiny_config: Path):
    contract = read_contract(finished.workspace.onnx_model)
    extract = load_config(tiny_config).extract

    assert contract.face == extract.face
    assert contract.detector == extract.detector.spec(None)
    assert contract.frame_step == extract.sampling.step
    assert not set(contract.training_groups) & set(contract.test_groups)


def test_parity_was_proved_on_real_crops(finished):
    parity = files.read_json(finished.workspace.parity_report)

    assert parity["crops"] >= 64
    assert 0.0 <= parity["max_logit_difference"] <= 1e-3


def test_mlflow_shows_the_run_and_the_registry_its_version_in_production(finished, tiny_config: Path):
    workspace = finished.workspace
    connect(workspace, config=load_config(tiny_config).tracking)
    client = MlflowClient()
    record = files.read_json(workspace.training_record)
    run = client.get_run(record["run_id"])

    assert run.info.status == "FINISHED"
    assert {"train.epochs", "train.learning_rate"} <= set(run.data.params)
    assert len(client.get_metric_history(record["run_id"], "val_loss")) == 2
    assert run.inputs.dataset_inputs
    assert client.get_registered_model("tiny").aliases.keys() >= {"production"}
    version = client.get_model_version_by_alias("tiny", "production")
    assert version.tags["purpose"] == "test"
    stored = Path(mlflow.artifacts.download_artifacts("models:/tiny@production")) / "model.onnx"
    assert files.sha256_of_file(stored) == files.sha256_of_file(workspace.onnx_model)


def test_nothing_is_written_outside_the_workspace(finished):
    run = MlflowClient().get_run(files.read_json(finished.workspace.training_record)["run_id"])

    assert finished.workspace.mlflow_db.is_file()
    assert Path.from_uri(run.info.artifact_uri) if hasattr(Path, "from_uri") else "mlartifacts" in run.info.artifact_uri
    assert not (Path.cwd() / "mlruns").exists()


def test_every_test_video_has_a_verdict(finished):
    workspace = finished.workspace
    scores = pq.read_table(workspace.scores / "scores.parquet").to_pylist()
    splits = tables.read(workspace.splits_table, schema=tables.SPLITS).to_pylist()

    assert len(scores) == sum(row["split"] == "test" for row in splits)
    assert {row["status"] for row in scores} == {"scored"}
    assert {row["verdict"] for row in scores} <= {"original", "manipulated"}
    assert all(0.0 <= row["score"] <= 1.0 for row in scores)
    assert {(row["model_name"], row["model_version"]) for row in scores} == {("tiny", "1")}


def test_evaluation_and_scoring_give_a_test_video_the_same_score(finished):
    """They share the session, the crops and the rule; only the offset of c40's frames differs."""
    workspace = finished.workspace
    digest = files.sha256_of_file(workspace.onnx_model)
    predictions = tables.read(workspace.predictions_of(digest), schema=tables.PREDICTIONS).to_pylist()
    scores = pq.read_table(workspace.scores / "scores.parquet").to_pylist()
    stored = {
        row["video_id"]: row["path"] for row in tables.read(workspace.videos_table, schema=tables.VIDEOS).to_pylist()
    }
    by_video = {str(Path(row["video"]).resolve()): row["score"] for row in scores}

    c23 = [row for row in predictions if row["compression"] == "c23"]
    assert c23
    for row in c23:
        scored = by_video[str(workspace.resolve(stored[row["video_id"]]))]
        assert scored == pytest.approx(row["score"], abs=1e-5)


def test_the_reports_are_pages_without_outside_requests(finished):
    workspace = finished.workspace
    for page in (workspace.quality_report, workspace.leak_report, workspace.evaluation / "index.html"):
        text = page.read_text(encoding="utf-8")
        assert "<html" in text
        for attribute in ('src="http', 'href="http', "@import", "url(http"):
            assert attribute not in text, f"{page} asks for something outside: {attribute}"


def test_a_second_run_only_finds_finished_work(finished, deepfake, tiny_config: Path):
    before = {path: path.stat().st_mtime_ns for path in finished.workspace.root.rglob("*.parquet")}

    again = deepfake("run", "--config", tiny_config, "--workspace", finished.workspace.root, "--json")

    assert again.exit_code == 0, again.stderr
    assert {report["outcome"] for report in again.json["stages"]} == {"found"}
    assert {path: path.stat().st_mtime_ns for path in finished.workspace.root.rglob("*.parquet")} == before


def test_status_reads_the_fingerprints(finished, deepfake):
    states = deepfake("status", "--workspace", finished.workspace.root, "--json").json
    changed = deepfake("status", "--workspace", finished.workspace.root, "--json", "--set", "train.epochs=3").json

    assert {row["state"] for row in states} == {"done"}
    by_stage = {row["stage"]: row for row in changed}
    assert by_stage["records"]["state"] == "done"
    assert by_stage["train"]["state"] == "stale"
    assert "train.epochs 2 → 3" in f"train.{by_stage['train']['why'].split(': ')[-1]}"


def test_a_stage_refuses_inputs_of_another_configuration(finished, deepfake, tmp_path: Path):
    copy = tmp_path / "copy"
    shutil.copytree(finished.workspace.root, copy, ignore=shutil.ignore_patterns("videos", "mlartifacts"))

    refused = deepfake("records", "--workspace", copy, "--set", "extract.face.size=96")

    assert refused.exit_code == 1
    assert "'extract' is stale: its configuration changed: face.size 64 → 96" in refused.stderr


def test_scoring_marks_the_corrupt_and_the_faceless_and_scores_the_rest(
    finished, deepfake, write_video, tmp_path: Path
):
    import numpy as np

    folder = tmp_path / "incoming"
    folder.mkdir()
    for video in sorted((finished.workspace.videos / "original_sequences/youtube/c23/videos").glob("*.mp4"))[:2]:
        shutil.copy(video, folder)
    (folder / "corrupt.mp4").write_bytes(b"\x00\x01not a video" * 100)
    grey = [np.full((240, 320, 3), 120, np.uint8)] * 8
    write_video(folder / "faceless.mp4", grey)

    ended = deepfake(
        "score", folder, "--model", finished.workspace.onnx_model, "--output", tmp_path / "scores.parquet",
        "--workspace", tmp_path / "w",
    )  # fmt: skip

    assert ended.exit_code == 4, ended.stderr
    rows = {Path(row["video"]).name: row for row in pq.read_table(tmp_path / "scores.parquet").to_pylist()}
    assert len(rows) == 4
    assert (rows["corrupt.mp4"]["status"], rows["faceless.mp4"]["status"]) == ("unreadable", "no_face")
    for name in ("corrupt.mp4", "faceless.mp4"):
        assert rows[name]["reason"]
        assert rows[name]["score"] is None
        assert rows[name]["verdict"] == "undecidable"
    assert sum(row["status"] == "scored" for row in rows.values()) == 2


def test_every_stage_left_a_receipt(finished, tiny_config: Path):
    for name in stage_names(load_config(tiny_config)):
        assert receipts.read_receipt(finished.workspace, name) is not None, name
