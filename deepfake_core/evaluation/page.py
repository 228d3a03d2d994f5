"""The evaluation's page: what the model is worth on people it never saw, for readers who were not there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepfake_core import pages
from deepfake_core.contract import ModelContract

MOST_MISTAKES = 12
FEW_GROUPS = 5
"""Below it the intervals say little."""

NAMES = {
    "auc": "AUC",
    "ap": "Average precision",
    "eer": "Equal error rate",
    "accuracy": "Accuracy",
    "recall": "Recall (manipulated found)",
    "precision": "Precision",
    "f1": "F1",
    "original_accuracy": "Accuracy on originals",
    "calibration_error": "Calibration error",
}


@dataclass(frozen=True)
class Mistake:
    """A video with a wrong verdict.

    Attributes:
        video_id: of the video.
        label: 0 original, 1 manipulated.
        score: of the video.
        frame: index of its most misleading frame.
        jpeg: the face in that frame.
    """

    video_id: str
    label: int
    score: float
    frame: int
    jpeg: bytes


def render_page(
    results: Mapping[str, Any],
    *,
    contract: ModelContract,
    images: Mapping[str, Path],
    mistakes: Sequence[Mistake],
    extracted: Mapping[str, Any],
) -> str:
    """Return the page.

    Args:
        results: from ``evaluate.measure``.
        contract: of the model.
        images: figures by name.
        mistakes: the worst first.
        extracted: how the extraction sampled frames (``step``, ``max_frames``).
    """
    return pages.render(
        "evaluation.html.j2",
        title=f"Evaluation of {contract.name}",
        banner=_banner(results),
        results=results,
        contract=contract,
        cards=_cards(results),
        overall=_overall_rows(results),
        slices=_slice_rows(results),
        images={name: pages.image_of(path) for name, path in images.items()},
        mistakes=[_mistake(mistake) for mistake in mistakes],
        thresholds=[_threshold_row("video", contract), _threshold_row("frame", contract)],
        facts=_facts(results, contract, extracted),
    )


def _banner(results: Mapping[str, Any]) -> pages.Banner | None:
    auc = results["overall"]["video"]["auc"]["value"]
    if auc is None:
        text = "The AUC needs originals and manipulated videos in the test split."
        return pages.Banner(tone="warn", title="No AUC: the test split has one class only", text=text)
    if results["groups"] < FEW_GROUPS:
        return pages.Banner(
            tone="warn",
            title=f"Only {results['groups']} groups of people in the test split",
            text="A group is an original and everything made of it. So few of them prove that the way works, not how "
            "good the model is.",
        )
    return None


def _cards(results: Mapping[str, Any]) -> list[tuple[str, float | None, str | None]]:
    video, frame = results["overall"]["video"], results["overall"]["frame"]
    return [
        ("video AUC", video["auc"]["value"], _interval(video["auc"])),
        ("frame AUC", frame["auc"]["value"], _interval(frame["auc"])),
        ("accuracy on originals", video["original_accuracy"]["value"], _interval(video["original_accuracy"])),
        ("manipulated found", video["recall"]["value"], _interval(video["recall"])),
        ("equal error rate", video["eer"]["value"], None),
        ("calibration error", video["calibration_error"]["value"], _interval(video["calibration_error"])),
    ]


def _interval(row: Mapping[str, float | None]) -> str | None:
    if row["low"] is None or row["high"] is None:
        return None
    return f"{row['low']:.3f} – {row['high']:.3f}"


def _overall_rows(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    video, frame = results["overall"]["video"], results["overall"]["frame"]
    return [
        {
            "metric": name,
            "videos": video[key]["value"],
            "interval of videos": _interval(video[key]),
            "frames": frame[key]["value"],
            "interval of frames": _interval(frame[key]),
        }
        for key, name in NAMES.items()
    ]


def _slice_rows(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    shown = {
        "video_auc": "video AUC",
        "frame_auc": "frame AUC",
        "video_ap": "AP",
        "video_eer": "EER",
        "video_accuracy": "accuracy",
        "video_recall": "recall",
        "video_original_accuracy": "on originals",
        "video_calibration_error": "calibration",
    }
    return [
        {
            **{key: row[key] for key in ("method", "compression", "originals", "manipulated")},
            **{name: row[key] for key, name in shown.items()},
        }
        for row in results["slices"]
    ]


def _mistake(mistake: Mistake) -> dict[str, Any]:
    truth, said = ("original", "manipulated") if mistake.label == 0 else ("manipulated", "original")
    return {
        "image": pages.data_uri(mistake.jpeg, kind="image/jpeg"),
        "video_id": mistake.video_id,
        "truth": truth,
        "said": said,
        "score": mistake.score,
        "frame": mistake.frame,
    }


def _threshold_row(level: str, contract: ModelContract) -> dict[str, Any]:
    threshold = contract.video_threshold if level == "video" else contract.frame_threshold
    return {
        "for": f"{level}s",
        "threshold": threshold.value,
        "chosen by": threshold.chosen_by,
    }


def _facts(results: Mapping[str, Any], contract: ModelContract, extracted: Mapping[str, Any]) -> dict[str, Any]:
    face, detector = contract.face, contract.detector
    shape = "square" if face.square else "stretched to a square"
    most = f", at most {extracted['max_frames']} a video" if extracted.get("max_frames") else ""
    return {
        "Model file": f"SHA-256 {results['onnx_sha256']}",
        "Data set": f"SHA-256 {contract.dataset_digest}",
        "MLflow run": contract.mlflow_run_id,
        "Code": contract.git_commit,
        "Faces": f"{face.size} × {face.size} pixels, margin {face.margin:g}, {shape}",
        "Detector": f"{detector.name}, main face: {detector.main_face}",
        "Frames": f"one in {extracted['step']}{most}" if extracted.get("step") else None,
        "Frames when scoring": f"one in {contract.frame_step}",
        "Score of a video": contract.aggregation.replace("_", " "),
        "Fewest faces for a verdict": contract.min_faces,
        "Intervals": f"{results['interval']:.0%}, {results['resamples']} resamples of {results['groups']} groups",
    }
