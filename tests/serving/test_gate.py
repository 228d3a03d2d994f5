"""The gate lets good models through, refuses with reasons, and writes everything down."""

import json
from types import SimpleNamespace

import mlflow
import numpy as np
import pytest

from deepfake_core import contract as contracts
from deepfake_core import files, receipts, tables
from deepfake_core.aggregation import sigmoid
from deepfake_core.config import Config, PromoteConfig, RegisterConfig
from deepfake_core.errors import ConfigError, MissingInput, PromotionRefused, RegistryError
from deepfake_core.report import StageReport
from deepfake_core.serving import versions
from deepfake_core.serving.gate import decide, promote_model
from deepfake_core.serving.gate_page import render_page
from deepfake_core.serving.registry import list_models, register_model, rollback_model

NAME = "tiny"
REGISTER = RegisterConfig(model_name=NAME)
NO_FLOORS = PromoteConfig(min_frame_auc=None, min_video_auc=None, min_groups=3, resamples=300, seed=1)
GROUPS = tuple(f"{number:03d}" for number in range(100, 112))


def predictions(
    digest, *, groups=GROUPS, strength=3.0, noise=1.0, seed=0, label_of=lambda method: int(method != "original")
):
    """Return a predictions table whose logits separate the classes by ``strength`` against ``noise``."""
    rng = np.random.default_rng(seed)
    rows = []
    for group in groups:
        for method in ("original", "Deepfakes", "FaceSwap"):
            label, name = label_of(method), group if method == "original" else f"{group}_{group}"
            logits = (2 * label - 1) * strength / 2 + rng.normal(0, noise) + rng.normal(0, 0.1, 4)
            score = float(sigmoid(logits.mean()))
            rows.append(
                {
                    "onnx_sha256": digest,
                    "video_id": f"ffpp/{method}/c23/{name}",
                    "method": method,
                    "compression": "c23",
                    "name": name,
                    "group": group,
                    "label": label,
                    "frames": [0, 4, 8, 12],
                    "frame_logits": logits.astype(np.float32).tolist(),
                    "score": score,
                    "verdict": "manipulated" if score >= 0.5 else "original",
                }
            )
    return tables.from_rows(rows, tables.PREDICTIONS)


@pytest.fixture
def contender(workspace, write_tiny_model, tmp_path):
    """Return a function that makes a version of the registry, as MLflow describes one, with stored predictions."""

    def make(number, *, stored=True, training_groups=("001",), training_people=(), **quality):
        people = {"training_groups": training_groups, "training_people": training_people}
        path = write_tiny_model(tmp_path / f"{number}.onnx", bias=number / 100, **people)
        digest = files.sha256_of_file(path)
        files.write_bytes(workspace.registered_model(digest), path.read_bytes())
        if stored:
            table = predictions(digest, seed=number, **quality)
            tables.write(workspace.predictions_of(digest), table, schema=tables.PREDICTIONS)
        return SimpleNamespace(version=str(number), tags={versions.DIGEST_TAG: digest}, run_id=None)

    return make


def change(config, **values):
    return config.model_copy(update=values)


# The questions, each with a case in which it refuses


@pytest.mark.parametrize(
    ("floor", "bound", "reason"),
    [
        ("min_frame_auc", 0.99, "the frame AUC of 0"),
        ("min_video_auc", 0.99, "the video AUC of 0"),
        ("min_original_accuracy", 0.999, "the accuracy on originals of 0"),
        ("max_calibration_error", 0.001, "the calibration error of 0"),
    ],
)
def test_each_floor_refuses_below_and_passes_above(workspace, contender, floor, bound, reason):
    candidate = contender(1, strength=1.5)
    lenient = 0.5 if floor.startswith("max") else 0.2

    refused = decide(workspace, NAME, candidate, None, config=change(NO_FLOORS, **{floor: bound}))
    passed = decide(workspace, NAME, candidate, None, config=change(NO_FLOORS, **{floor: lenient}))

    assert refused.outcome == "refused"
    assert len(refused.refusals) == 1
    assert reason in refused.refusals[0]
    assert f"promote.{floor} = {bound:g}" in refused.refusals[0]
    assert passed.outcome == "promoted"


def test_a_figure_that_cannot_be_measured_does_not_pass_its_floor(workspace, contender):
    candidate = contender(1, label_of=lambda _: 1)

    decision = decide(workspace, NAME, candidate, None, config=change(NO_FLOORS, min_video_auc=0.5))

    assert decision.outcome == "refused"
    assert "cannot be measured" in decision.refusals[0]


def test_floors_that_are_not_set_are_named(workspace, contender):
    decision = decide(workspace, NAME, contender(1), None, config=NO_FLOORS)

    assert decision.outcome == "promoted"
    assert set(decision.unasked) == {
        "min_frame_auc",
        "min_video_auc",
        "min_original_accuracy",
        "max_calibration_error",
    }
    assert "sets no bound for min_frame_auc" in render_page(decision)


def test_a_candidate_that_is_surely_worse_is_refused(workspace, contender):
    good, poor = contender(1, strength=6.0), contender(2, strength=0.5)

    decision = decide(workspace, NAME, poor, good, config=NO_FLOORS)

    assert decision.outcome == "refused"
    assert "worse than production's" in decision.refusals[0]
    assert decision.comparison.best_case < -NO_FLOORS.max_auc_drop
    assert decision.comparison.groups == 12


def test_a_candidate_that_is_about_as_good_passes(workspace, contender):
    decision = decide(workspace, NAME, contender(2, strength=3.0), contender(1, strength=3.0), config=NO_FLOORS)

    low, high = decision.comparison.difference_interval
    assert decision.outcome == "promoted"
    assert low <= decision.comparison.difference <= high


def test_groups_that_either_model_was_trained_on_are_left_out_and_counted(workspace, contender):
    candidate = contender(2, training_groups=("001", "100"))
    production = contender(1, training_groups=("101", "102"))

    decision = decide(workspace, NAME, candidate, production, config=NO_FLOORS)

    assert decision.comparison.left_out == ("100", "101", "102")
    assert decision.comparison.groups == 9
    assert decision.comparison.videos == 27
    assert "3 groups were left out" in render_page(decision)


def test_people_trained_on_are_left_out_though_another_split_named_their_group_differently(workspace, contender):
    candidate, production = contender(2), contender(1, training_groups=("ffpp/099",), training_people=("ffpp/100",))

    decision = decide(workspace, NAME, candidate, production, config=NO_FLOORS)

    assert decision.comparison.left_out == ("100",)


def test_too_few_common_groups_refuse_unless_configured_off(workspace, contender):
    candidate, production = contender(2, groups=GROUPS[:4]), contender(1, groups=GROUPS[2:])

    refused = decide(workspace, NAME, candidate, production, config=NO_FLOORS)
    waved = decide(workspace, NAME, candidate, production, config=change(NO_FLOORS, undecided="promote"))

    assert refused.outcome == "refused"
    assert "undecided: 2 groups" in refused.refusals[0]
    assert refused.comparison.difference_interval is None
    assert waved.outcome == "promoted"
    assert "promote.undecided lets it pass" in next(check.why for check in waved.checks if check.name == "min_groups")


def test_production_without_stored_predictions_leaves_it_undecided(workspace, contender):
    decision = decide(workspace, NAME, contender(2), contender(1, stored=False), config=NO_FLOORS)

    assert decision.outcome == "refused"
    assert "no test predictions of version 1" in decision.refusals[0]


def test_a_candidate_without_predictions_is_an_error_not_a_verdict(workspace, contender):
    with pytest.raises(MissingInput, match="deepfake evaluate"):
        decide(workspace, NAME, contender(1, stored=False), None, config=NO_FLOORS)


def test_the_same_data_give_the_same_decision(workspace, contender):
    candidate, production = contender(2), contender(1)

    first = decide(workspace, NAME, candidate, production, config=NO_FLOORS)

    assert decide(workspace, NAME, candidate, production, config=NO_FLOORS).comparison == first.comparison


# The whole way with MLflow


@pytest.fixture
def promote(evaluated, tracking_config):
    """Return a registered workspace and a function that promotes in it."""
    workspace = evaluated(test_groups=4, noise=2.0)
    register_model(workspace, config=REGISTER, tracking=tracking_config)

    def run(config=NO_FLOORS, **values):
        return promote_model(workspace, config=config, register=REGISTER, tracking=tracking_config, **values)

    return workspace, run


@pytest.fixture
def export_another(write_tiny_model, tracking_config, evaluate_quickly):
    """Return a function that exports, evaluates and registers another model in a workspace."""

    def export(workspace, **values):
        contract = contracts.read_contract(workspace.onnx_model)
        kept = {key: getattr(contract, key) for key in ("training_groups", "test_groups", "mlflow_run_id")}
        write_tiny_model(workspace.onnx_model, **{**kept, **values})
        with receipts.open_stage(workspace, "export", config=Config().export) as work:
            work.finish(StageReport(stage="export"), outputs=[workspace.onnx_model])
        evaluate_quickly(workspace)
        register_model(workspace, config=REGISTER, tracking=tracking_config)

    return export


def test_the_first_promotion_passes_its_floors_and_is_written_down(promote, tracking_config):
    workspace, run = promote

    report = run(change(NO_FLOORS, min_video_auc=0.8), reason="first model")

    client = mlflow.MlflowClient()
    version = client.get_model_version_by_alias(NAME, "production")
    assert str(version.version) == "1"
    assert version.tags["gate"] == "promoted"
    assert version.tags["promotion_reason"] == "first model"
    assert "@" in version.tags["promoted_by"]
    assert "min_frame_auc" in version.tags["gate_unasked"]
    assert "min_video_auc" not in version.tags["gate_unasked"]
    (line,) = [json.loads(text) for text in workspace.decisions.read_text().splitlines()]
    assert (line["outcome"], line["version"], line["production"]) == ("promoted", "1", None)
    page = workspace.root / report.outputs["report"]
    assert "went into production" in page.read_text()
    assert files.read_json(page.with_suffix(".json"))["reason"] == "first model"
    assert client.list_artifacts(version.run_id, "promotion")
    assert list_models(workspace, config=REGISTER, tracking=tracking_config)[0]["gate"] == "promoted"


def test_a_refusal_moves_no_alias_and_ends_with_exit_code_3(promote):
    workspace, run = promote

    with pytest.raises(
        PromotionRefused, match=r"calibration error.*max_calibration_error = 0\.0001.*--force"
    ) as refusal:
        run(change(NO_FLOORS, max_calibration_error=0.0001))

    client = mlflow.MlflowClient()
    assert refusal.value.exit_code == 3
    assert "production" not in client.get_registered_model(NAME).aliases
    assert client.get_model_version(NAME, "1").tags["gate"] == "refused"
    assert json.loads(workspace.decisions.read_text())["outcome"] == "refused"
    assert "stays out of production" in next(workspace.promotions.glob("*refused.html")).read_text()


def test_force_needs_a_reason_and_is_recorded(promote):
    workspace, run = promote
    strict = change(NO_FLOORS, max_calibration_error=0.0001)

    with pytest.raises(ConfigError, match="--reason"):
        run(strict, force=True)
    report = run(strict, force=True, reason="the old one is broken")

    version = mlflow.MlflowClient().get_model_version_by_alias(NAME, "production")
    assert version.tags["gate"] == "forced"
    assert version.tags["promotion_forced"] == "true"
    assert "calibration error" in version.tags["gate_refusals"]
    assert any("forced although" in note for note in report.notes)
    assert "by force" in next(workspace.promotions.glob("*forced.html")).read_text()


def test_what_is_in_production_is_found_there(promote):
    _, run = promote
    run()

    assert run().outcome == "found"
    assert run(version="1", config=change(NO_FLOORS, resamples=400)).outcome == "found"


def test_a_worse_candidate_is_refused_then_a_good_one_replaces_and_rolls_back(promote, export_another, tracking_config):
    workspace, run = promote
    client = mlflow.MlflowClient()
    run()

    export_another(workspace, gain=-0.1)  # calls originals manipulated
    with pytest.raises(PromotionRefused, match="worse than production's"):
        run()
    assert versions.aliases_of(client, NAME) == {"challenger": "2", "production": "1"}

    export_another(workspace, gain=0.2)
    report = run()
    assert versions.aliases_of(client, NAME) == {"challenger": "3", "production": "3", "previous": "1"}
    assert report.counts == {"groups_compared": 4, "groups_left_out": 0}

    rollback_model(workspace, config=REGISTER, tracking=tracking_config, reason="odd verdicts")
    assert versions.aliases_of(client, NAME) == {"challenger": "3", "production": "1"}
    with pytest.raises(PromotionRefused, match=r"was rolled back by .* odd verdicts"):
        run()
    assert versions.aliases_of(client, NAME)["production"] == "1"
    assert run(reason="the verdicts were right").outcome == "done"
    assert versions.aliases_of(client, NAME)["production"] == "3"
    assert versions.ROLLED_BACK_TAG not in client.get_model_version(NAME, "3").tags


def test_a_version_that_does_not_exist_is_an_error(promote):
    _, run = promote

    with pytest.raises(RegistryError, match="no version 7"):
        run(version="7")
