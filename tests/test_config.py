"""Configuration: what is understood, what is refused, and how the refusal teaches."""

from pathlib import Path

import pytest
import yaml

from deepfake_core.config import Config, ExtractConfig
from deepfake_core.config_file import load_config
from deepfake_core.errors import ConfigError
from deepfake_core.resources import configs_folder

VARIABLES = {
    "DEEPFAKE_REAL_DATA": "data",
    "DEEPFAKE_SPLITS": "lists",
    "DEEPFAKE_YOLO_WEIGHTS": "yolov8n.pt",
    "DEEPFAKE_YOLO_SHA256": "0" * 64,
}


@pytest.mark.parametrize("name", ["demo", "real-sample", "notebook", "production"])
def test_every_shipped_configuration_loads(name: str, monkeypatch: pytest.MonkeyPatch):
    for variable, value in VARIABLES.items():
        monkeypatch.setenv(variable, value)

    config = load_config(configs_folder() / f"{name}.yaml")

    assert config.name == name


def test_the_notebook_configuration_holds_the_parameters_of_the_notebook(monkeypatch: pytest.MonkeyPatch):
    for variable, value in VARIABLES.items():
        monkeypatch.setenv(variable, value)

    config = load_config(configs_folder() / "notebook.yaml")

    assert (config.seed, config.split.counts, config.records.shards) == (42, (800, 100, 100), (60, 15, 15))
    face, detector, sampling = config.extract.face, config.extract.detector, config.extract.sampling
    assert (face.size, face.margin, face.square, face.interpolation) == (299, 1.3, False, "linear")
    assert (detector.name, detector.class_id, detector.main_face) == ("yolo", 0, "largest")
    assert (sampling.step, sampling.offset_of("c23"), sampling.offset_of("c40")) == (4, 0, 2)
    train = config.train
    assert (train.batch, train.epochs, train.learning_rate) == (32, 10, 2e-4)
    assert (train.beta_1, train.beta_2, train.epsilon) == (0.9, 0.999, 1e-8)
    assert (train.select_by, train.patience, train.class_weights) == ("val_loss", 3, "total_over_count")
    assert (train.architecture, train.dropout) == ("xception_notebook", 0.2)
    assert (config.export.frame_step, config.export.aggregation, config.export.threshold) == (1, "vote", 0.5)


@pytest.mark.parametrize(
    ("override", "nearest"),
    [
        ("trian.epochs=3", "'train'"),
        ("train.epoch=3", "'train.epochs'"),
        ("extract.face.szie=299", "'extract.face.size'"),
        ("validate.max_no_face=0.1", "'validate.max_no_face_share'"),
    ],
)
def test_an_unknown_key_names_the_nearest_known_one(override: str, nearest: str):
    with pytest.raises(ConfigError, match="unknown configuration key") as caught:
        load_config(None, [override])

    assert f"Did you mean {nearest}?" in str(caught.value)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("train.epochs=0", "train.epochs: .*Received: 0"),
        ("split.counts=[0.5, 0.4, 0.3]", "fractions that sum to 1"),
        ("download.connections=8", "download.connections"),
        ("train.epochs", "section.key=value"),
        ("name.first=x", "goes below 'name'"),
    ],
)
def test_a_wrong_value_is_refused_with_what_was_received(override: str, said: str):
    overrides = ["name=x", override] if override.startswith("name.") else [override]

    with pytest.raises(ConfigError, match=said):
        load_config(None, overrides)


def test_variables_are_expanded_and_a_missing_one_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "config.yaml"
    file.write_text("download: {path: '${FFPP_HOME}/tree'}\n", encoding="utf-8")

    monkeypatch.setenv("FFPP_HOME", "somewhere")
    assert load_config(file).download.path == Path("somewhere/tree")

    monkeypatch.delenv("FFPP_HOME")
    with pytest.raises(ConfigError, match="FFPP_HOME"):
        load_config(file)


@pytest.mark.parametrize("text", ["- a\n- b\n", "train: [", "train: 3\n"])
def test_a_file_that_is_no_mapping_of_sections_is_refused(tmp_path: Path, text: str):
    file = tmp_path / "config.yaml"
    file.write_text(text, encoding="utf-8")

    with pytest.raises(ConfigError):
        load_config(file)


def test_one_seed_reaches_every_section_and_survives_the_way_through_yaml():
    config = load_config(None, ["seed=7", "train.seed=3"])
    again = Config.model_validate(yaml.safe_load(config.to_yaml()))
    reseeded = Config.model_validate({**yaml.safe_load(config.to_yaml()), "seed": 8})

    assert (config.split.seed, config.records.seed, config.train.seed) == (7, 7, 3)
    assert again == config
    assert (reseeded.split.seed, reseeded.train.seed) == (8, 3)


def test_what_only_changes_speed_does_not_change_a_fingerprint():
    base = ExtractConfig()
    faster = ExtractConfig(workers=8, shard_videos=64)
    other_device = ExtractConfig.model_validate({"detector": {"device": "cuda", "weights": "elsewhere.onnx"}})
    other_face = ExtractConfig.model_validate({"face": {"size": 224}})

    assert base.fingerprint_values() == faster.fingerprint_values() == other_device.fingerprint_values()
    assert base.fingerprint_values() != other_face.fingerprint_values()
