"""The page that stands beside a score table: what was found, how sure, on which faces, and what could not be scored."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepfake_core import files, pages
from deepfake_core.contract import ModelContract
from deepfake_core.serving.remember import Memory

FACES_SHOWN = 60
"""Videos shown with their most suspicious face; the table holds them all."""

_BINS = 20
_WIDTH, _HEIGHT, _BASE = 760, 150, 22  # of the histogram, in SVG units; its axis needs the last


@dataclass(frozen=True)
class Histogram:
    """Bars of the scores, ready to be drawn as SVG: (x, y, width, height, count, suspicious) each."""

    width: int
    height: int
    base: int
    bars: tuple[tuple[float, float, float, float, int, bool], ...]
    threshold: float


def write_report(path: Path, rows: Sequence[Mapping[str, Any]], *, contract: ModelContract, memory: Memory) -> None:
    """Write the page.

    Args:
        path: of the HTML file; it loads nothing from anywhere.
        rows: of ``tables.SCORES``.
        contract: of the model.
        memory: holds the most suspicious face of each scored video.
    """
    scored = sorted((row for row in rows if row["status"] == "scored"), key=lambda row: -row["score"])
    failed = [row for row in rows if row["status"] != "scored"]
    verdicts = Counter(row["verdict"] for row in rows)
    page = pages.render(
        "scores.html.j2",
        title="Scores",
        banner=_banner(rows, failed, verdicts),
        cards=[
            ("videos", len(rows), None),
            ("manipulated", verdicts["manipulated"], None),
            ("original", verdicts["original"], None),
            ("undecidable", verdicts["undecidable"], f"{len(failed)} without a score" if failed else None),
        ],
        histogram=draw_histogram([row["score"] for row in scored], contract.video_threshold.value),
        suspects=[{**row, "face": _face(memory, row)} for row in scored[:FACES_SHOWN]],
        hidden=max(0, len(scored) - FACES_SHOWN),
        failed=[{key: row.get(key) for key in ("video", "status", "reason")} for row in failed],
        model=_model_facts(rows[0], contract),
    )
    files.write_text(path, page)


def draw_histogram(scores: Sequence[float], threshold: float) -> Histogram:
    """Return the bars of ``scores`` (0..1) and the place of ``threshold`` among them."""
    counts = Counter(min(int(score * _BINS), _BINS - 1) for score in scores)
    highest = max(counts.values(), default=1)
    step = _WIDTH / _BINS
    bars = []
    for place in sorted(counts):
        height = counts[place] / highest * (_HEIGHT - _BASE)
        suspicious = (place + 0.5) / _BINS >= threshold
        bars.append((place * step + 1, _HEIGHT - _BASE - height, step - 2, height, counts[place], suspicious))
    return Histogram(_WIDTH, _HEIGHT, _BASE, tuple(bars), threshold * _WIDTH)


def _banner(
    rows: Sequence[Mapping[str, Any]], failed: Sequence[Mapping[str, Any]], verdicts: Mapping[str, int]
) -> pages.Banner:
    title = f"{verdicts.get('manipulated', 0)} of {len(rows)} videos are probably manipulated"
    text = "A score is the model's probability, not a proof: look at the faces."
    if failed:
        text = f"{len(failed)} videos have no score; the reasons stand below. {text}"
    return pages.Banner(tone="warn" if failed else "ok", title=title, text=text)


def _face(memory: Memory, row: Mapping[str, Any]) -> str | None:
    jpeg = memory.suspect_of(row["sha256"])
    return pages.data_uri(jpeg, kind="image/jpeg") if jpeg else None


def _model_facts(row: Mapping[str, Any], contract: ModelContract) -> dict[str, Any]:
    facts = {
        "Model": row["model_name"] or contract.name,
        "Version": row["model_version"] or "a file outside any registry",
        "ONNX SHA-256": row["onnx_sha256"],
        "Manipulated from": f"{contract.video_threshold.value:.3f} ({contract.video_threshold.chosen_by})",
        "Frames": f"every {contract.frame_step}th" if contract.frame_step > 1 else "every one",
        "Video score": contract.aggregation.replace("_", " "),
        "Fewest faces": contract.min_faces,
        "Detector": contract.detector.name,
    }
    if contract.notes:
        facts["Notes"] = " ".join(contract.notes)
    return facts
