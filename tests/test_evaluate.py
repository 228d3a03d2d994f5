"""The test split is scored once, honestly, and told to people and to MLflow."""

import shutil

import mlflow
import pytest

from deepfake_core import files, tables
from deepfake_core.config import Config, EvaluateConfig
from deepfake_core.errors import MissingInput, StaleInput, TornGroupError
from deepfake_core.evaluate import evaluate_model
from deepfake_core.evaluation import predictions
from deepfake_core.receipts import open_stage
from deepfake_core.report import StageReport
from deepfake_core.serving.session import Scorer

CONFIG = EvaluateConfig(resamples=100, seed=3)


@pytest.fixture
def make(exported_workspace):
    """Return a function that makes an exported workspace whose training run is in MLflow."""
    return exported_workspace


def resplit(workspace, change):
    """Write the splits anew, and leave the receipts that say so."""
    rows = [change(row) for row in tables.read(workspace.splits_table, schema=tables.SPLITS).to_pylist()]
    tables.write(workspace.splits_table, tables.from_rows(rows, tables.SPLITS), schema=tables.SPLITS)
    outputs = {
        "split": [workspace.splits_table],
        "train": [workspace.training_record],
        "export": [workspace.onnx_model],
    }
    for stage in ("split", "validate", "records", "train", "export"):
        with open_stage(workspace, stage, config=Config().section(stage)) as work:
            work.finish(StageReport(stage=stage), outputs=outputs.get(stage, []))


def test_every_test_video_is_predicted_by_its_whole_key_and_no_other(make, tracking_config):
    workspace = make()

    report = evaluate_model(workspace, config=CONFIG, tracking=tracking_config)

    (stored,) = workspace.predictions.glob("*.parquet")
    rows = tables.read(stored, schema=tables.PREDICTIONS).to_pylist()
    assert len(rows) == len({(row["method"], row["compression"], row["name"]) for row in rows}) == 6 * 3 * 2
    assert {row["group"] for row in rows} == {"002", "003", "004", "005", "006", "007"}
    assert stored.stem == files.sha256_of_file(workspace.onnx_model)
    assert all(row["frames"] == [0, 4, 8, 12] and len(row["frame_logits"]) == 4 for row in rows)
    assert report.counts == {"videos": 36, "frames": 144, "groups": 6, "undecidable": 0}
    assert not list(workspace.predictions.glob("*.parts"))


def test_the_report_gives_metrics_with_intervals_by_method_and_compression(make, tracking_config):
    workspace = make()

    report = evaluate_model(workspace, config=CONFIG, tracking=tracking_config)

    results = files.read_json(workspace.evaluation / "metrics.json")
    auc = results["overall"]["video"]["auc"]
    assert 0.5 < auc["low"] <= auc["value"] <= auc["high"] <= 1.0
    assert report.metrics["test_video_auc"] == auc["value"]
    assert set(report.metrics) >= {"test_frame_auc", "test_video_eer", "test_video_original_accuracy"}
    slices = {(row["method"], row["compression"]): row for row in results["slices"]}
    assert {("all", "all"), ("Deepfakes", "c23"), ("FaceSwap", "c40"), ("all", "c40")} <= set(slices)
    assert slices["Deepfakes", "c23"]["originals"] == slices["Deepfakes", "c23"]["manipulated"] == 6


def test_the_page_is_self_contained_and_shows_the_worst_mistakes(make, tracking_config):
    workspace = make(noise=30.0, notes=("made of <embedded> data",))

    evaluate_model(workspace, config=CONFIG, tracking=tracking_config)

    page = (workspace.evaluation / "index.html").read_text()
    assert "http" not in page.replace("http-equiv", "")
    assert "made of &lt;embedded&gt; data" in page
    assert "Worst mistakes" in page
    assert "data:image/jpeg;base64," in page
    assert page.count("data:image/png;base64,") == 5


def test_metrics_and_plots_reach_the_run_of_the_training(make, tracking_config):
    workspace = make()
    run_id = files.read_json(workspace.training_record)["run_id"]

    report = evaluate_model(workspace, config=CONFIG, tracking=tracking_config)

    client = mlflow.MlflowClient()
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["test_video_auc"] == report.metrics["test_video_auc"]
    assert "test_video_auc.Deepfakes_c23" in run.data.metrics
    ((tested, context),) = [(entry.dataset, entry.tags) for entry in run.inputs.dataset_inputs]
    assert tested.name == "faces-test"
    told = {tag.key: tag.value for tag in context}
    assert (told["mlflow.data.context"], told["videos"], told["groups"]) == ("test", "36", "6")
    stored = {item.path for item in client.list_artifacts(run_id, "evaluation")}
    assert {"evaluation/roc.png", "evaluation/confusion.png", "evaluation/index.html"} <= stored


def test_a_second_run_finds_the_work_done(make, tracking_config):
    workspace = make()
    first = evaluate_model(workspace, config=CONFIG, tracking=tracking_config)

    again = evaluate_model(workspace, config=CONFIG, tracking=tracking_config)

    assert again.outcome == "found"
    assert again.metrics == first.metrics


def test_stored_predictions_are_not_made_again(make, tracking_config, monkeypatch):
    workspace = make()
    evaluate_model(workspace, config=CONFIG, tracking=tracking_config)
    monkeypatch.setattr(Scorer, "logits_of_jpegs", lambda *_: pytest.fail("the model ran twice"))

    report = evaluate_model(workspace, config=CONFIG.model_copy(update={"resamples": 200}), tracking=tracking_config)

    assert report.outcome == "done"
    assert "resamples 100 → 200" in report.notes[0]


def test_a_killed_evaluation_goes_on_where_it_stopped(make, tracking_config, monkeypatch):
    workspace = make()
    monkeypatch.setattr(predictions, "PART_VIDEOS", 10)
    real, calls = Scorer.logits_of_jpegs, []

    def stop_at_the_25th(self, jpegs):
        calls.append(len(jpegs))
        if len(calls) == 25:
            raise KeyboardInterrupt
        return real(self, jpegs)

    monkeypatch.setattr(Scorer, "logits_of_jpegs", stop_at_the_25th)
    with pytest.raises(KeyboardInterrupt):
        evaluate_model(workspace, config=CONFIG, tracking=tracking_config)
    assert not list(workspace.predictions.glob("*.parquet"))

    evaluate_model(workspace, config=CONFIG, tracking=tracking_config)

    assert len(calls) == 25 + 36 - 20


def test_a_video_without_a_face_is_undecidable_and_named(make, tracking_config):
    workspace = make()
    rows = tables.read(workspace.extractions_table, schema=tables.EXTRACTIONS).to_pylist()
    rows[-1] |= {"faces": 0, "status": "no_face", "reason": "no face in 4 sampled frames", "digest": None}
    tables.write(workspace.extractions_table, tables.from_rows(rows, tables.EXTRACTIONS), schema=tables.EXTRACTIONS)
    with open_stage(workspace, "extract", config=Config().extract) as work:
        work.finish(StageReport(stage="extract"), outputs=[workspace.extractions_table])
    resplit(workspace, lambda row: row)

    report = evaluate_model(workspace, config=CONFIG, tracking=tracking_config)

    stored = tables.read(next(workspace.predictions.glob("*.parquet")), schema=tables.PREDICTIONS).to_pylist()
    faceless = next(video for video in stored if video["video_id"] == rows[-1]["video_id"])
    assert (faceless["score"], faceless["verdict"], faceless["frames"]) == (None, "undecidable", [])
    assert report.counts["undecidable"] == 1
    assert any("no face in 4 sampled frames" in note for note in report.notes)


def test_one_class_gives_no_auc_rather_than_a_made_up_one(make, tracking_config):
    workspace = make()
    rows = tables.read(workspace.splits_table, schema=tables.SPLITS).to_pylist()
    fakes = [row for row in rows if row["split"] == "train" or "/original/" not in row["video_id"]]
    tables.write(workspace.splits_table, tables.from_rows(fakes, tables.SPLITS), schema=tables.SPLITS)
    resplit(workspace, lambda row: row)

    report = evaluate_model(workspace, config=CONFIG, tracking=tracking_config)

    results = files.read_json(workspace.evaluation / "metrics.json")
    assert results["overall"]["video"]["auc"] == {"value": None, "low": None, "high": None}
    assert "test_video_auc" not in report.metrics
    assert "one class only" in (workspace.evaluation / "index.html").read_text()


def test_people_the_model_was_trained_on_are_refused_in_test(make, tracking_config):
    workspace = make()
    resplit(workspace, lambda row: {**row, "split": "test"} if row["group"] == "001" else row)

    with pytest.raises(TornGroupError, match="001"):
        evaluate_model(workspace, config=CONFIG, tracking=tracking_config)


def test_a_torn_group_is_refused(make, tracking_config):
    workspace = make()
    resplit(workspace, lambda row: {**row, "split": "val"} if row["video_id"].endswith("c23/005") else row)

    with pytest.raises(TornGroupError):
        evaluate_model(workspace, config=CONFIG, tracking=tracking_config)


def test_an_empty_test_split_is_refused(make, tracking_config):
    workspace = make()
    resplit(workspace, lambda row: {**row, "split": "train"})

    with pytest.raises(MissingInput, match="test split"):
        evaluate_model(workspace, config=CONFIG, tracking=tracking_config)


def test_faces_that_were_exchanged_are_refused(make, tracking_config):
    workspace = make()
    shutil.copy(workspace.faces_of("youtube/original/c23/002"), workspace.faces_of("Deepfakes/Deepfakes/c23/002_002"))

    with pytest.raises(StaleInput, match="deepfake extract"):
        evaluate_model(workspace, config=CONFIG, tracking=tracking_config)
