"""What all tests share: where the real data is, and small videos, models and workspaces made on the spot."""

import os
import shutil
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from deepfake_core import contract as contracts
from deepfake_core import files, receipts, tables
from deepfake_core.config import Config, TrackingConfig
from deepfake_core.contract import ModelContract, Threshold
from deepfake_core.faces.crop import encode_jpeg
from deepfake_core.report import StageReport
from deepfake_core.specs import DetectorSpec, FaceSpec
from deepfake_core.workspace import Workspace

REAL_DATA = "DEEPFAKE_REAL_DATA"

for name, value in {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "YOLO_OFFLINE": "1",
    "YOLO_AUTOINSTALL": "false",
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "90",
}.items():
    os.environ.setdefault(name, value)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder that holds ``data/ffpp`` and ``models``; skip where it is not given."""
    folder = os.environ.get(REAL_DATA)
    if not folder:
        pytest.skip(f"{REAL_DATA} is not set: no real FaceForensics++ videos at hand")
    path = Path(folder).resolve()
    assert (path / "data" / "ffpp").is_dir(), f"{REAL_DATA}={folder} holds no data/ffpp"
    return path


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Return a new, empty workspace."""
    return Workspace.open(tmp_path / "workspace")


VideoMaker = Callable[..., Path]


@pytest.fixture
def write_video() -> VideoMaker:
    """Return a function that encodes frames (each (height, width, 3) uint8 RGB) as a real video."""

    def write(
        path: Path,
        frames: Sequence[np.ndarray],
        *,
        codec: str = "libx264",
        pix_fmt: str = "yuv420p",
        fps: int = 25,
        options: dict[str, str] | None = None,
    ) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=fps, options=options or {})
            stream.height, stream.width = frames[0].shape[:2]
            stream.pix_fmt = pix_fmt
            stream.time_base = Fraction(1, fps)
            for pixels in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            container.mux(stream.encode())
        return path

    return write


ModelMaker = Callable[..., Path]


def _graph(size: int, *, gain: float, bias: float) -> Any:
    """Return a model whose logit is ``gain × (mean red − mean blue) + bias``."""
    weights = np.array([[gain], [0.0], [-gain]], dtype=np.float32)
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["means"], axes=[1, 2], keepdims=0),
        helper.make_node("Gemm", ["means", "weights", "bias"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["probability"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", size, size, 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 1]) for name in ("logit", "probability")],
        [
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(np.array([bias], dtype=np.float32), "bias"),
        ],
    )
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 17)])


@pytest.fixture
def write_tiny_model() -> ModelMaker:
    """Return a function that writes a tiny ONNX model with its contract.

    Its logit is ``gain × (mean red − mean blue) + bias``: reddish crops are manipulated, bluish ones original.
    """

    def write(path: Path, *, size: int = 64, gain: float = 0.1, bias: float = 0.0, **contract_values: Any) -> Path:
        model = _graph(size, gain=gain, bias=bias)
        values: dict[str, Any] = {
            "name": "tiny",
            "face": FaceSpec(size=size),
            "detector": DetectorSpec(name="haar", input_side=320, min_confidence=0.0),
            "frame_step": 4,
            "aggregation": "mean_logit",
            "frame_threshold": Threshold(value=0.5, chosen_by="fixed"),
            "video_threshold": Threshold(value=0.5, chosen_by="fixed"),
            "training_groups": ("001", "002"),
            "test_groups": ("003", "004"),
            "dataset_digest": "0" * 64,
            "graph_sha256": contracts.graph_sha256(model),
        }
        contracts.embed(model, ModelContract(**{**values, **contract_values}))
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(model, str(path))
        return path

    return write


@pytest.fixture
def tiny_model(tmp_path: Path, write_tiny_model: ModelMaker) -> Path:
    """Return a tiny ONNX model file: 64 × 64 crops, embedded detector, every 4th frame."""
    return write_tiny_model(tmp_path / "tiny.onnx")


WorkspaceMaker = Callable[..., Workspace]


@pytest.fixture(scope="session")
def empty_mlflow_db(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an MLflow database with its tables and nothing in them: making one costs two seconds, a copy nothing."""
    from deepfake_core import tracking  # loading MLflow costs seconds that most tests need not pay

    workspace = Workspace.open(tmp_path_factory.mktemp("mlflow") / "workspace")
    tracking.connect(workspace, config=TrackingConfig(uri=f"sqlite:///{workspace.mlflow_db}", experiment="unused"))
    return workspace.mlflow_db


@pytest.fixture
def exported_workspace(
    tmp_path: Path, write_tiny_model: ModelMaker, empty_mlflow_db: Path, tracking_config: TrackingConfig
) -> WorkspaceMaker:
    """Return a function that makes a workspace as it is after ``export``: faces, splits, a tiny model, an MLflow run,
    receipts.

    Groups ``000`` and ``001`` were trained on; every later group is a test group: an original and two fakes of it, in
    two compressions, with four faces each. Fakes are redder than originals; ``noise`` blurs that.
    """

    from deepfake_core import tracking

    def make(*, test_groups: int = 6, noise: float = 12.0, **model: Any) -> Workspace:
        workspace = Workspace.open(tmp_path / "workspace")
        shutil.copy(empty_mlflow_db, workspace.mlflow_db)
        with tracking.run_of(workspace, config=tracking_config, name="training") as run_id:
            tracking.log_metrics({"val_auc": 0.9}, step=1)
        rng = np.random.default_rng(7)
        videos, splits, extractions = [], [], []
        for number in range(2 + test_groups):
            person, split = f"{number:03d}", "train" if number < 2 else "test"
            for method in ("original", "Deepfakes", "FaceSwap"):
                for compression in ("c23", "c40"):
                    name = person if method == "original" else f"{person}_{person}"
                    video = _video_row(method, compression, name, person)
                    digest = _write_faces(workspace, video, rng, noise=noise)
                    videos.append(video)
                    splits.append({"video_id": video["video_id"], "group": person, "split": split})
                    extractions.append(_extraction_row(video, digest))
        tables.write(workspace.videos_table, tables.from_rows(videos, tables.VIDEOS), schema=tables.VIDEOS)
        tables.write(workspace.splits_table, tables.from_rows(splits, tables.SPLITS), schema=tables.SPLITS)
        found = tables.from_rows(extractions, tables.EXTRACTIONS)
        tables.write(workspace.extractions_table, found, schema=tables.EXTRACTIONS)
        groups = tuple(f"{number:03d}" for number in range(2 + test_groups))
        people = {"training_groups": groups[:2], "test_groups": groups[2:]}
        write_tiny_model(workspace.onnx_model, **{**people, "mlflow_run_id": run_id, **model})
        files.write_json(workspace.training_record, {"run_id": run_id, "best_epoch": 1})
        _leave_receipts(workspace)
        return workspace

    return make


def _video_row(method: str, compression: str, name: str, person: str) -> dict[str, Any]:
    dataset = "youtube" if method == "original" else method
    video_id = f"{dataset}/{method}/{compression}/{name}"
    return {
        "video_id": video_id,
        "path": f"videos/{video_id}.mp4",
        "dataset": dataset,
        "method": method,
        "compression": compression,
        "name": name,
        "target": person,
        "label": int(method != "original"),
        "status": "ok",
    }


def _extraction_row(video: dict[str, Any], digest: str) -> dict[str, Any]:
    return {"video_id": video["video_id"], "fingerprint": "0" * 64, "faces": 4, "status": "ok", "digest": digest}


def _write_faces(workspace: Workspace, video: dict[str, Any], rng: np.random.Generator, *, noise: float) -> str:
    redness = (12 if video["label"] else -12) + rng.normal(0, noise)
    rows = []
    for frame in range(0, 16, 4):
        red = redness + rng.normal(0, 4)
        crop = np.clip(np.array([128 - red, 128, 128 + red]) + rng.normal(0, 3, (64, 64, 3)), 0, 255)  # BGR
        jpeg = encode_jpeg(crop.astype(np.uint8), quality=95)
        rows.append({"video_id": video["video_id"], "frame": frame, "status": "ok", "jpeg": jpeg})
    path = workspace.faces_of(video["video_id"])
    tables.write(path, tables.from_rows(rows, tables.FACES), schema=tables.FACES)
    return files.sha256_of_file(path)


def _leave_receipts(workspace: Workspace) -> None:
    """Leave the receipts of all stages before ``evaluate``, as if they had run under the default configuration."""
    outputs = {
        "download": [workspace.videos_table],
        "split": [workspace.splits_table],
        "extract": [workspace.extractions_table],
        "train": [workspace.training_record],
        "export": [workspace.onnx_model],
    }
    for stage in ("download", "split", "extract", "validate", "records", "train", "export"):
        with receipts.open_stage(workspace, stage, config=Config().section(stage)) as work:
            work.finish(StageReport(stage=stage), outputs=outputs.get(stage, []))


@pytest.fixture
def tracking_config(monkeypatch: pytest.MonkeyPatch) -> TrackingConfig:
    """Return a configuration of tracking inside the workspace, whatever the environment says."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return TrackingConfig(experiment="test")
