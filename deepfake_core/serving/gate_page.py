"""The page and the JSON of one promotion decision."""

from pathlib import Path
from typing import Any

from deepfake_core import files, pages, plots
from deepfake_core.serving.comparison import Comparison
from deepfake_core.serving.decision import Decision
from deepfake_core.workspace import Workspace

_NAMES = {
    "min_frame_auc": "frame AUC, at least",
    "min_video_auc": "video AUC, at least",
    "min_original_accuracy": "accuracy on originals, at least",
    "max_calibration_error": "calibration error, at most",
    "min_groups": "groups compared, at least",
    "max_auc_drop": "best case of candidate − production, at least",
}


def write_report(workspace: Workspace, decision: Decision) -> Path:
    """Write ``<time>-version-<n>-<outcome>.html`` and ``.json`` into the folder of promotions; return the page."""
    stamp = decision.at.replace(":", "").replace("-", "").replace("+0000", "Z")
    page = workspace.promotions / f"{stamp}-version-{decision.version}-{decision.outcome}.html"
    files.write_json(page.with_suffix(".json"), decision.to_json())
    files.write_text(page, render_page(decision))
    return page


def render_page(decision: Decision) -> str:
    """Return the page of a decision."""
    return pages.render(
        "promotion.html.j2",
        title=f"{decision.model} version {decision.version}",
        banner=_banner(decision),
        decision=decision,
        checks=[
            {
                "check": _NAMES.get(check.name, check.name),
                "measured": _whole(check.value) if check.name == "min_groups" else check.value,
                "bound": _whole(check.bound) if check.name == "min_groups" else check.bound,
                "answer": "not\u00a0asked" if check.bound is None else "passed" if check.passed else "refused",
                "why": check.why,
            }
            for check in decision.checks
        ],
        cards=_cards(decision),
        comparison=decision.comparison,
        images=[pages.data_uri(png, kind="image/png") for png in _figures(decision)],
        facts={
            "Decided": decision.at,
            "By": decision.by,
            "Reason": decision.reason,
            "Model file": f"SHA-256 {decision.onnx_sha256}",
            "In production before": f"version {decision.production}" if decision.production else "nothing",
        },
    )


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


def _banner(decision: Decision) -> pages.Banner:
    if decision.outcome == "promoted":
        before = f"It replaces version {decision.production}." if decision.production else "It is the first."
        return pages.Banner(tone="ok", title=f"Version {decision.version} went into production", text=before)
    reasons = " ".join(f"{why[0].upper()}{why[1:]}." for why in decision.refusals)
    if decision.outcome == "forced":
        title = f"Version {decision.version} went into production by force"
        return pages.Banner(tone="warn", title=title, text=f"The gate had refused: {reasons}")
    return pages.Banner(tone="bad", title=f"Version {decision.version} stays out of production", text=reasons)


def _cards(decision: Decision) -> list[tuple[str, float | None, str | None]]:
    shown = {
        "video_auc": "video AUC",
        "frame_auc": "frame AUC",
        "video_original_accuracy": "accuracy on originals",
        "video_calibration_error": "calibration error",
    }
    return [(title, decision.metrics.get(key), "all test videos") for key, title in shown.items()]


def _figures(decision: Decision) -> list[bytes]:
    comparison = decision.comparison
    if comparison is None or comparison.difference is None:
        return []
    bounds = [check.bound for check in decision.checks if check.name == "max_auc_drop"]
    drawn = [plots.draw_comparison(_rows(decision, comparison), title="Video AUC", x="AUC", highest=1.0)]
    if comparison.difference_interval is not None:
        row = ("difference", comparison.difference, *comparison.difference_interval)
        title = "Candidate minus production"
        drawn.append(
            plots.draw_comparison([row], title=title, x="Difference of AUC", limit=bounds[0] if bounds else None)
        )
    return [plots.to_png(figure) for figure in drawn]


def _rows(decision: Decision, comparison: Comparison) -> list[tuple[str, float, float, float]]:
    pairs: list[tuple[str, Any, Any]] = [
        (f"candidate, version {decision.version}", comparison.candidate_auc, comparison.candidate_interval),
        (f"production, version {decision.production}", comparison.production_auc, comparison.production_interval),
    ]
    return [(name, value, *(interval or (value, value))) for name, value, interval in pairs]
