"""Configuration: one frozen section a stage. A stage function takes its own section, never the whole configuration.

``config_file.py`` reads it from YAML.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from deepfake_core.specs import DetectorSpec, FaceSpec, Fraction, MainFace, SamplingSpec, Sha256, Spec

Method = Literal["Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures"]
Compression = Literal["raw", "c23", "c40"]
Dataset = Literal["original", "FaceShifter", "DeepFakeDetection", "DeepFakeDetection_original"] | Method
METHODS: tuple[Method, ...] = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures")

Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0.0)]


class NotFingerprinted:
    """Marks a field that changes where or how fast work is done, but not one byte of its result."""


WHERE_OR_HOW_FAST = NotFingerprinted()


class Section(Spec):
    """Base of all sections."""

    def fingerprint_values(self) -> dict[str, Any]:
        """Return the values that decide what the stage's output looks like, as JSON-like values."""
        silent = {
            name
            for name, field in type(self).model_fields.items()
            if any(isinstance(mark, NotFingerprinted) for mark in field.metadata)
        }
        values = self.model_dump(mode="json", exclude=silent)
        for name in type(self).model_fields.keys() - silent:
            inner = getattr(self, name)
            if isinstance(inner, Section):
                values[name] = inner.fingerprint_values()
        return values


class TrackingConfig(Section):
    """Where runs and models are logged.

    Attributes:
        uri: MLflow tracking URI; null: ``MLFLOW_TRACKING_URI``, and where that is unset SQLite inside the workspace.
        experiment: name of the MLflow experiment.
    """

    uri: str | None = None
    experiment: str = "deepfake"


class SampleConfig(Section):
    """The embedded data set: generated talking heads in the layout of FaceForensics++.

    Attributes:
        enabled: generate it (``deepfake run`` then starts with it).
        identities: number of originals; even, because they are swapped in pairs.
        frames: frames a video.
        width: frame width in pixels.
        height: frame height in pixels.
        fps: frames a second.
        methods: manipulations to make of each pair, in both directions.
        compressions: ``c23`` and ``c40`` are H.264 at CRF 23 and 40.
        seed: decides every pixel.
        workers: processes that render; null: one a core.
    """

    enabled: Annotated[bool, WHERE_OR_HOW_FAST] = False
    identities: Annotated[int, Field(ge=6, le=1000, multiple_of=2)] = 64
    frames: Annotated[int, Field(ge=4, le=1000)] = 16
    width: Annotated[int, Field(ge=160, le=1920, multiple_of=16)] = 448
    height: Annotated[int, Field(ge=160, le=1080, multiple_of=16)] = 336
    fps: Annotated[int, Field(ge=1, le=120)] = 25
    methods: tuple[Method, ...] = METHODS
    compressions: tuple[Literal["c23", "c40"], ...] = ("c23", "c40")
    seed: int = 1
    workers: Annotated[Positive | None, WHERE_OR_HOW_FAST] = None


class DownloadConfig(Section):
    """Where the videos come from.

    Attributes:
        source: ``directory``: any tree in the layout of FaceForensics++, read in place; ``faceforensics``: the
            published servers.
        path: the tree of ``directory``, or where ``faceforensics`` puts its files; null: ``videos/`` of the workspace.
        datasets: which sets to take.
        compressions: which compressions to take.
        masks: fetch the manipulation masks too (``faceforensics`` only).
        num_videos: the first so many of each set and compression; null: all.
        server: name of the first ``faceforensics`` server to ask.
        server_url: base URL that replaces the published servers.
        connections: simultaneous connections; the servers refuse more than about 4.
        timeout_seconds: longest silence of a connection.
        attempts: tries in a row that bring no new byte, before a file becomes a row with a reason.
        backoff_seconds: pause after the first of them; every further one doubles it, up to a minute.
        workers: processes that verify by decoding; null: one a core.
    """

    source: Literal["directory", "faceforensics"] = "directory"
    path: Path | None = None
    datasets: tuple[Dataset, ...] = ("original", *METHODS)
    compressions: tuple[Compression, ...] = ("c23", "c40")
    masks: bool = False
    num_videos: Positive | None = None
    server: Annotated[Literal["EU", "EU2", "CA"], WHERE_OR_HOW_FAST] = "EU2"
    server_url: Annotated[str | None, WHERE_OR_HOW_FAST] = None
    connections: Annotated[int, Field(ge=1, le=4), WHERE_OR_HOW_FAST] = 4
    timeout_seconds: Annotated[float, Field(gt=0), WHERE_OR_HOW_FAST] = 30.0
    attempts: Annotated[int, Field(ge=1, le=20), WHERE_OR_HOW_FAST] = 6
    backoff_seconds: Annotated[float, Field(gt=0), WHERE_OR_HOW_FAST] = 1.0
    workers: Annotated[Positive | None, WHERE_OR_HOW_FAST] = None

    @field_validator("datasets", "compressions")
    @classmethod
    def _each_is_named_once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if twice := sorted({name for name in names if names.count(name) > 1}):
            message = f"each may be named once; remove the second {', '.join(twice)}"
            raise ValueError(message)
        return names

    @field_validator("server_url")
    @classmethod
    def _a_server_can_be_asked(cls, url: str | None) -> str | None:
        if url is None:
            return None
        if not re.match(r"https?://", url, re.IGNORECASE):
            message = "a server is given by its base URL, such as http://host:8000/faceforensics/"
            raise ValueError(message)
        return _refuse_broken_url(url)


def _text_of_path(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def _refuse_broken_url(place: str) -> str:
    """Let paths through, and URLs that can be asked."""
    if re.match(r"[a-z][a-z0-9+.-]+:/", place, re.IGNORECASE):
        import httpx  # noqa: PLC0415 - a tenth of a second, which those with a folder need not wait

        try:
            url = httpx.URL(place)
        except (httpx.InvalidURL, ValueError) as error:
            message = f"this is no URL: {error}. Write it as https://host/folder"
            raise ValueError(message) from None
        if url.scheme not in {"http", "https"} or not url.host:
            message = "a URL here starts with http:// or https:// and names a host, such as https://host/folder"
            raise ValueError(message)
    return place


PathOrUrl = Annotated[str, BeforeValidator(_text_of_path), AfterValidator(_refuse_broken_url)]


class SplitConfig(Section):
    """Who is trained on, who is validated on, who is tested on.

    Attributes:
        mode: ``official``: the published lists, and nobody else; ``ratio``: whole groups at random.
        lists: folder or URL of ``train.json``, ``val.json`` and ``test.json`` (``official``);
            null: ``splits/`` below the videos' source.
        youtube_ids: file or URL of the YouTube-id table: two originals from one video are one group in ``ratio`` mode,
            and a reported collision in ``official`` mode; null: ``conversion_dict.json`` beside the lists, where it is.
        counts: originals in train, validation and test (``ratio``); fractions that sum to 1, or whole numbers, which
            count as proportions where there are fewer originals.
        seed: of ``ratio``; null: the configuration's.
    """

    mode: Literal["official", "ratio"] = "official"
    lists: Annotated[PathOrUrl | None, WHERE_OR_HOW_FAST] = None
    youtube_ids: Annotated[PathOrUrl | None, WHERE_OR_HOW_FAST] = None
    counts: tuple[Rate, Rate, Rate] = (800, 100, 100)
    seed: int | None = None

    @model_validator(mode="after")
    def _counts_are_of_one_kind(self) -> Self:
        fractions = abs(sum(self.counts) - 1.0) < 1e-6
        whole = all(float(count).is_integer() for count in self.counts)
        if not fractions and not whole:
            message = f"counts must be three whole numbers, or fractions that sum to 1. Received: {list(self.counts)}"
            raise ValueError(message)
        return self


class DetectorConfig(Section):
    """Which detector finds the faces.

    Attributes:
        name: ``haar``, ``yunet`` or ``yolo``.
        weights: path of the weights file; null: the pinned official file, fetched once and cached.
        sha256: digest that the weights must have; null: the pinned one (``yunet``); ``yolo`` needs it.
        input_side: longest side in pixels that the detector sees; zero: the frame as it is.
        min_confidence: detections below it are dropped.
        min_face: smallest face side as a share of the frame's height.
        class_id: which class of a ``yolo`` model is taken for a face.
        main_face: ``track`` or ``largest``.
        detect_every: detect on every k-th sampled frame and interpolate between.
        device: ``cpu``, ``cuda`` or null (``yolo``: the GPU when there is one). The last digits of boxes depend on it
            and on ``batch``; faces that are finished are kept all the same.
        batch: frames a call (``yolo``).
    """

    name: Literal["haar", "yunet", "yolo"] = "yunet"
    weights: Annotated[Path | None, WHERE_OR_HOW_FAST] = None
    sha256: Sha256 | None = None
    input_side: Annotated[int, Field(ge=0, le=4096)] = 320
    min_confidence: Fraction = 0.6
    min_face: Fraction = 0.0
    class_id: Annotated[int, Field(ge=0)] = 0
    main_face: MainFace = "track"
    detect_every: Annotated[int, Field(ge=1, le=16)] = 1
    device: Annotated[Literal["cpu", "cuda"] | None, WHERE_OR_HOW_FAST] = None
    batch: Annotated[Positive, WHERE_OR_HOW_FAST] = 8

    def spec(self, weights_sha256: str | None) -> DetectorSpec:
        """Return what the model must remember of this detector, with the digest of the weights in use."""
        return DetectorSpec(
            name=self.name,
            weights_sha256=weights_sha256,
            input_side=self.input_side,
            min_confidence=self.min_confidence,
            min_face=self.min_face,
            class_id=self.class_id,
            main_face=self.main_face,
            detect_every=self.detect_every,
        )


class ExtractConfig(Section):
    """From videos to face crops.

    Attributes:
        detector: how faces are found.
        face: how they are cropped.
        sampling: on which frames.
        workers: decoding processes; null: one a core.
        shard_videos: videos a task when a flow schedules the work.
        seconds_per_video: time limit of one video.
        memory_mb: memory limit of one worker, in MiB.
    """

    detector: DetectorConfig = DetectorConfig()
    face: FaceSpec = FaceSpec()
    sampling: SamplingSpec = SamplingSpec()
    workers: Annotated[Positive | None, WHERE_OR_HOW_FAST] = None
    shard_videos: Annotated[int, Field(ge=1, le=4096), WHERE_OR_HOW_FAST] = 128
    seconds_per_video: Annotated[float, Field(gt=0), WHERE_OR_HOW_FAST] = 300.0
    memory_mb: Annotated[int, Field(ge=256), WHERE_OR_HOW_FAST] = 2048


class ValidateConfig(Section):
    """Thresholds of the data-quality suites; each fills the ``$PARAMETER`` of the same name in ``expectations/*.json``.

    Attributes:
        suites: folder of the suites; null: the ones that ship with the platform.
        full_dataset: add the suite of the notebook's totals, for the whole of FaceForensics++.
        min_faces_per_video: a readable video with fewer faces fails.
        max_no_face_share: largest share of sampled frames without a face, over all videos.
        max_unreadable_share: largest share of videos that could not be read.
        frame_count_tolerance: sampled frames may differ from duration × fps ÷ step by this share of it, plus one.
        min_class_share: smallest share of either class among the faces of a split.
        max_method_imbalance: largest ratio between the most and the least frequent manipulation of a split, in faces.
        max_compression_imbalance: the same between compressions.
        min_face_pixels: shortest side of a face box.
        min_sharpness: smallest variance of the Laplacian of a crop.
        max_box_jump: largest step of the box centre between two sampled frames, in box widths.
        min_box_in_frame: smallest share of a box that lies inside the frame.
        max_face_aspect: longest side of a box ÷ its shortest one.
        mostly: share of the faces that must keep the bounds of size, shape, sharpness and jumps.
        videos_mostly: share of the readable videos that must keep the bounds of frame and face counts.
        min_target_share: share of the fakes whose target must be there at the same compression.
        full_dataset_tolerance: totals of the full data set may differ from the notebook's by this share.
        full_split_tolerance: the same for the totals of its splits, which depend on who falls into them.
        check_files: open every per-video file too and compare it with the tables.
    """

    suites: Annotated[Path | None, WHERE_OR_HOW_FAST] = None
    full_dataset: bool = False
    min_faces_per_video: Positive = 1
    max_no_face_share: Fraction = 0.05
    max_unreadable_share: Fraction = 0.01
    frame_count_tolerance: Fraction = 0.05
    min_class_share: Fraction = 0.1
    max_method_imbalance: Annotated[float, Field(ge=1.0)] = 1.5
    max_compression_imbalance: Annotated[float, Field(ge=1.0)] = 1.5
    min_face_pixels: Annotated[float, Field(ge=0)] = 32.0
    min_sharpness: Annotated[float, Field(ge=0)] = 1.0
    max_box_jump: Annotated[float, Field(gt=0)] = 1.5
    min_box_in_frame: Fraction = 0.5
    max_face_aspect: Annotated[float, Field(ge=1.0)] = 2.0
    mostly: Fraction = 0.98
    videos_mostly: Fraction = 0.99
    min_target_share: Fraction = 1.0
    full_dataset_tolerance: Fraction = 0.03
    full_split_tolerance: Fraction = 0.15
    check_files: bool = True


class RecordsConfig(Section):
    """TFRecord shards.

    Attributes:
        shards: number of shards of train, validation and test.
        seed: decides shard and place of every face; null: the configuration's.
        workers: threads that read and write; null: one a core.
    """

    shards: tuple[Positive, Positive, Positive] = (60, 15, 15)
    seed: int | None = None
    workers: Annotated[Positive | None, WHERE_OR_HOW_FAST] = None


class AugmentConfig(Section):
    """Random changes of training crops; every share is the chance that one crop is changed in that way.

    Attributes:
        flip: mirrored left to right.
        rotate: largest rotation as a share of a full turn (Keras' unit).
        zoom: largest zoom in or out, as a share of the side.
        translate: largest shift, as a share of the side.
        brightness: largest change as a share of the range.
        contrast: largest change of contrast.
        saturation: largest change of saturation.
        channel_gain: largest gain of each colour channel on its own.
        blur: share of crops blurred.
        downscale: share of crops shrunk and enlarged again.
        jpeg: share of crops compressed again.
        jpeg_quality: lowest and highest quality of that compression.
        noise: largest standard deviation of Gaussian noise, in levels of 255.
    """

    flip: Fraction = 0.5
    rotate: Fraction = 0.02
    zoom: Fraction = 0.1
    translate: Fraction = 0.03
    brightness: Fraction = 0.1
    contrast: Fraction = 0.1
    saturation: Fraction = 0.1
    channel_gain: Fraction = 0.05
    blur: Fraction = 0.1
    downscale: Fraction = 0.1
    jpeg: Fraction = 0.2
    jpeg_quality: tuple[Annotated[int, Field(ge=1, le=100)], Annotated[int, Field(ge=1, le=100)]] = (40, 95)
    noise: Annotated[float, Field(ge=0)] = 2.0


class TrainConfig(Section):
    """Training.

    Attributes:
        architecture: ``xception`` (keras.applications) or ``xception_notebook`` (the notebook's, its defects mended).
        width: factor on all filter counts.
        middle_blocks: residual blocks of the middle flow.
        dropout: before the last layer.
        weights: ImageNet weights file without top (``xception`` at width 1); null: random initialisation.
        weights_sha256: digest which that file must have.
        batch: images a step.
        epochs: at most.
        optimizer: ``adam`` or ``adamw``.
        learning_rate: peak value.
        beta_1: Adam's.
        beta_2: Adam's.
        epsilon: Adam's.
        weight_decay: of ``adamw``.
        schedule: ``constant`` or ``cosine`` (to zero over all epochs).
        warmup_epochs: linear warm-up of ``cosine``.
        label_smoothing: of the binary cross-entropy.
        class_weights: ``balanced`` (total / (2 × count)), ``total_over_count`` (the notebook's) or ``none``.
        batchnorm_momentum: of every batch normalisation.
        precision: ``float32``, ``mixed_bfloat16``, ``mixed_float16``, or ``auto``: ``mixed_bfloat16`` where the device
            multiplies it itself, else ``float32`` (a processor that imitates bfloat16 is five times slower with it).
        select_by: the value of an epoch by which the best is chosen.
        patience: epochs without a better value before stopping; null: never.
        augment: random changes.
        shuffle_buffer: images shuffled across shards.
        seed: initialisation, order and augmentation; null: the configuration's.
        device: ``cpu``, ``gpu`` or null (a GPU when there is one).
    """

    architecture: Literal["xception", "xception_notebook"] = "xception"
    width: Annotated[float, Field(gt=0, le=2.0)] = 1.0
    middle_blocks: Annotated[int, Field(ge=0, le=16)] = 8
    dropout: Fraction = 0.2
    weights: Annotated[Path | None, WHERE_OR_HOW_FAST] = None
    weights_sha256: Sha256 | None = None
    batch: Positive = 32
    epochs: Positive = 10
    optimizer: Literal["adam", "adamw"] = "adam"
    learning_rate: Rate = 2e-4
    beta_1: Fraction = 0.9
    beta_2: Fraction = 0.999
    epsilon: Rate = 1e-8
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_epochs: Annotated[float, Field(ge=0)] = 0.0
    label_smoothing: Fraction = 0.0
    class_weights: Literal["balanced", "total_over_count", "none"] = "balanced"
    batchnorm_momentum: Fraction = 0.99
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    select_by: Literal["val_loss", "val_auc"] = "val_loss"
    patience: Positive | None = 3
    augment: AugmentConfig = AugmentConfig()
    shuffle_buffer: Positive = 4096
    seed: int | None = None
    device: Annotated[Literal["cpu", "gpu"] | None, WHERE_OR_HOW_FAST] = None


Aggregation = Literal["mean_logit", "mean_probability", "median_probability", "vote"]


class ExportConfig(Section):
    """From Keras to ONNX.

    Attributes:
        frame_step: step at which scoring samples a video; null: the step of the extraction.
        aggregation: how frame scores become the score of a video: ``mean_logit`` (sigmoid of the mean logit),
            ``mean_probability``, ``median_probability`` or ``vote`` (share of frames over the frame threshold,
            the notebook's).
        threshold: ``youden`` (of the validation videos' ROC), ``eer`` or a fixed number.
        min_faces: fewest faces for a verdict.
        parity_crops: crops on which Keras and onnxruntime are compared.
        max_logit_difference: largest difference allowed there.
    """

    frame_step: Positive | None = None
    aggregation: Aggregation = "mean_logit"
    threshold: Literal["youden", "eer"] | Fraction = "youden"
    min_faces: Positive = 1
    parity_crops: Annotated[int, Field(ge=64)] = 64
    max_logit_difference: Annotated[float, Field(gt=0)] = 1e-3


class EvaluateConfig(Section):
    """Evaluation of the exported model on the test split.

    Attributes:
        resamples: bootstrap resamples over groups.
        interval: coverage of the bootstrap intervals.
        batch: images a call.
        seed: of the bootstrap; null: the configuration's.
        device: ``cpu`` or ``cuda``.
    """

    resamples: Annotated[int, Field(ge=100)] = 1000
    interval: Annotated[float, Field(gt=0.5, lt=1.0)] = 0.95
    batch: Annotated[Positive, WHERE_OR_HOW_FAST] = 8
    seed: int | None = None
    device: Annotated[Literal["cpu", "cuda"], WHERE_OR_HOW_FAST] = "cpu"


class RegisterConfig(Section):
    """Registration in MLflow's model registry.

    Attributes:
        model_name: name of the registered model.
        tags: tags of the version, such as ``{"purpose": "plumbing test"}``.
    """

    model_name: Annotated[str, Field(pattern=r"^[^/:]+$")] = "deepfake-xception"
    tags: dict[str, str] = {}


class PromoteConfig(Section):
    """The gate in front of production.

    Attributes:
        min_frame_auc: floor on the test frames' AUC; null: no floor.
        min_video_auc: floor on the test videos' AUC; null: no floor.
        min_original_accuracy: floor on the accuracy on original videos; null: no floor.
        max_calibration_error: ceiling of the expected calibration error over videos; null: no ceiling.
        max_auc_drop: a candidate whose video AUC is surely (by the bootstrap) worse than production's by more than
            this is refused.
        min_groups: fewest test groups, unseen by both models, for a comparison.
        undecided: with fewer groups: ``refuse`` or ``promote``.
        resamples: bootstrap resamples over groups.
        confidence: of the one-sided bootstrap bound.
        seed: of the bootstrap; null: the configuration's.
    """

    min_frame_auc: Fraction | None = 0.8
    min_video_auc: Fraction | None = 0.85
    min_original_accuracy: Fraction | None = None
    max_calibration_error: Fraction | None = None
    max_auc_drop: Fraction = 0.01
    min_groups: Positive = 5
    undecided: Literal["refuse", "promote"] = "refuse"
    resamples: Annotated[int, Field(ge=100)] = 1000
    confidence: Annotated[float, Field(gt=0.5, lt=1.0)] = 0.95
    seed: int | None = None


class ScoreConfig(Section):
    """Batch scoring. How faces are cropped, which frames are sampled and where the threshold lies come from the model.

    Attributes:
        paths: what ``deepfake run`` scores at its end; empty: the videos of the test split.
        device: ``cpu`` or ``cuda``; asked for CUDA means CUDA.
        batch: crops a call of the model.
        workers: decoding processes; null: one a core.
        seconds_per_video: time limit of one video.
        memory_mb: memory limit of one worker, in MiB.
        weights: path of the detector's weights, where they are not cached yet.
    """

    paths: tuple[Path, ...] = ()
    device: Annotated[Literal["cpu", "cuda"], WHERE_OR_HOW_FAST] = "cpu"
    batch: Annotated[Positive, WHERE_OR_HOW_FAST] = 8
    workers: Annotated[Positive | None, WHERE_OR_HOW_FAST] = None
    seconds_per_video: Annotated[float, Field(gt=0), WHERE_OR_HOW_FAST] = 300.0
    memory_mb: Annotated[int, Field(ge=256), WHERE_OR_HOW_FAST] = 2048
    weights: Annotated[Path | None, WHERE_OR_HOW_FAST] = None


_SEEDED = ("split", "records", "train", "evaluate", "promote")


class Config(Section):
    """The whole configuration.

    Attributes:
        name: tag of the MLflow run.
        seed: fills every section's ``seed`` that is null.
    """

    name: str = "deepfake"
    seed: int = 42
    tracking: TrackingConfig = TrackingConfig()
    sample: SampleConfig = SampleConfig()
    download: DownloadConfig = DownloadConfig()
    split: SplitConfig = SplitConfig()
    extract: ExtractConfig = ExtractConfig()
    validate_: ValidateConfig = Field(default=ValidateConfig(), alias="validate")
    records: RecordsConfig = RecordsConfig()
    train: TrainConfig = TrainConfig()
    export: ExportConfig = ExportConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    register_: RegisterConfig = Field(default=RegisterConfig(), alias="register")
    promote: PromoteConfig = PromoteConfig()
    score: ScoreConfig = ScoreConfig()

    @model_validator(mode="before")
    @classmethod
    def _seed_the_sections(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        seed = values.get("seed", cls.model_fields["seed"].default)
        seeded = dict(values)
        for name in _SEEDED:
            section = seeded.get(name) or {}
            if isinstance(section, Mapping) and section.get("seed") is None:
                seeded[name] = {**section, "seed": seed}
        return seeded

    def section(self, name: str) -> Section:
        """Return the section of a stage by the stage's name, such as ``validate``."""
        section = getattr(self, f"{name}_" if name in {"validate", "register"} else name)
        if not isinstance(section, Section):
            message = f"{name!r} is not a section"
            raise TypeError(message)
        return section

    def to_yaml(self) -> str:
        """Return the effective configuration as YAML, in the order of the stages.

        A seed that a section took from the configuration stays null, so that a later ``--set seed=7`` reaches it.
        """
        values = self.model_dump(mode="json", by_alias=True)
        for name in _SEEDED:
            if values[name]["seed"] == self.seed:
                values[name]["seed"] = None
        return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
