"""deepfake: from FaceForensics++ videos to a gated detector in production and a batch scorer.

The way of the data, one verb a stage::

    sample_videos      generate the embedded data set                (optional)
    download_videos    videos/ + videos table                        any tree in the layout of FaceForensics++
    split_videos       splits table                                  groups of people, never torn apart
    extract_faces      faces/, one Parquet a video                   box, frame, JPEG bytes, status
    validate_data      reports/quality/                              the Great Expectations gate
    write_records      records/<split>/ shards                       TFRecord, each face exactly once
    train_model        MLflow run, models/model.keras                best epoch by validation
    export_model       models/model.onnx with its contract           parity proved against Keras
    evaluate_model     predictions, metrics, report                  test split, once
    register_model     MLflow model version                          alias challenger
    promote_model      alias production                              the gate in front of production
    score_videos       scores table                                  batch, onnxruntime

A verb is imported when it is first named, so that scoring never loads TensorFlow.
"""

from importlib import import_module
from typing import Any

_HOME_OF = {
    "sample_videos": "deepfake_core.sample",
    "download_videos": "deepfake_core.data.download",
    "split_videos": "deepfake_core.data.split",
    "extract_faces": "deepfake_core.data.extract",
    "validate_data": "deepfake_core.data.validate",
    "write_records": "deepfake_core.data.records",
    "train_model": "deepfake_core.model.train",
    "export_model": "deepfake_core.model.export",
    "evaluate_model": "deepfake_core.evaluate",
    "register_model": "deepfake_core.serving.registry",
    "promote_model": "deepfake_core.serving.gate",
    "score_videos": "deepfake_core.serving.score",
}

__all__ = list(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(import_module(_HOME_OF[name]), name)
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF})
