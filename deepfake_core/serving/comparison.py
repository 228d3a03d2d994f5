"""Two models on the same test videos: paired, over groups of people that neither was trained on."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from deepfake_core import metrics
from deepfake_core.config import PromoteConfig
from deepfake_core.contract import ModelContract
from deepfake_core.data.groups import people_of_id
from deepfake_core.metrics import Sample

KEY = ("method", "compression", "name")
"""What a video is known by; never its file's stem alone."""


@dataclass(frozen=True)
class Contender:
    """A version and what is stored of it.

    Attributes:
        version: of the registered model.
        onnx_sha256: its file.
        contract: what the file says of itself.
        predictions: ``tables.PREDICTIONS``; None where none are stored.
    """

    version: str
    onnx_sha256: str
    contract: ModelContract
    predictions: pa.Table | None


@dataclass(frozen=True)
class Comparison:
    """What the comparison showed.

    Attributes:
        videos: compared.
        groups: of people, compared.
        left_out: groups with people that either model was trained on.
        candidate_auc: of the candidate on these videos; None where it is not defined.
        candidate_interval: lower and upper end.
        production_auc: of production on the same videos.
        production_interval: lower and upper end.
        difference: candidate minus production.
        difference_interval: lower and upper end, two-sided.
        best_case: one-sided upper bound of the difference: the candidate is surely not better than that.
        coverage: of the intervals and of the bound.
        undecided: why the comparison cannot decide; empty where it can.
    """

    videos: int
    groups: int
    left_out: tuple[str, ...]
    candidate_auc: float | None = None
    candidate_interval: tuple[float, float] | None = None
    production_auc: float | None = None
    production_interval: tuple[float, float] | None = None
    difference: float | None = None
    difference_interval: tuple[float, float] | None = None
    best_case: float | None = None
    coverage: float = 0.95
    undecided: str = ""


def measure_alone(contender: Contender) -> dict[str, float | None]:
    """Return the test metrics of one model, by ``<level>_<metric>``, over all its stored predictions."""
    contract = contender.contract
    video = metrics.summarise(metrics.video_sample(contender.predictions), threshold=contract.video_threshold.value)
    frame = metrics.summarise(metrics.frame_sample(contender.predictions), threshold=contract.frame_threshold.value)
    return {
        **{f"video_{name}": value for name, value in video.items()},
        **{f"frame_{name}": value for name, value in frame.items()},
    }


def compare(candidate: Contender, production: Contender, *, config: PromoteConfig) -> Comparison:
    """Compare the video AUC of two models on the test videos that both have predicted.

    Args:
        candidate: with predictions.
        production: with or without.
        config: resamples, confidence, seed, fewest groups.
    """
    if production.predictions is None:
        return Comparison(0, 0, (), undecided=f"no test predictions of version {production.version} are stored")
    rows, left_out = _common_rows(candidate, production)
    samples = (_sample(rows, "candidate"), _sample(rows, "production"))
    groups = len({row["group"] for row in rows})
    few = ""
    if groups < config.min_groups:
        few = (
            f"undecided: {groups} groups of test people are common to both models and unseen by both, "
            f"promote.min_groups = {config.min_groups} are needed"
        )
    if not 0 < samples[0].labels.sum() < len(rows):
        few = few or "undecided: the common test videos have one class only"
        return Comparison(len(rows), groups, left_out, undecided=few)
    return _measured(samples, groups, left_out, config=config, undecided=few)


def _measured(
    samples: tuple[Sample, Sample],
    groups: int,
    left_out: tuple[str, ...],
    *,
    config: PromoteConfig,
    undecided: str,
) -> Comparison:
    drawn = metrics.draw_groups(groups, resamples=config.resamples, seed=config.seed or 0)
    ours, theirs = (metrics.resampled(sample, drawn, statistic="auc") for sample in samples)
    defined = np.isfinite(ours) & np.isfinite(theirs)
    ours, theirs = ours[defined], theirs[defined]
    if len(ours) < config.resamples / 2:
        undecided = undecided or "undecided: most resamples of the groups have one class only"
    aucs = [metrics.auc(sample.labels, sample.scores) for sample in samples]
    bounded = groups > 1 and not undecided

    def interval(values: np.ndarray) -> tuple[float, float] | None:
        if not bounded:
            return None
        low, high = np.quantile(values, [(1 - config.confidence) / 2, (1 + config.confidence) / 2])
        return float(low), float(high)

    return Comparison(
        videos=len(samples[0]),
        groups=groups,
        left_out=left_out,
        candidate_auc=aucs[0],
        candidate_interval=interval(ours),
        production_auc=aucs[1],
        production_interval=interval(theirs),
        difference=aucs[0] - aucs[1],
        difference_interval=interval(ours - theirs),
        best_case=float(np.quantile(ours - theirs, config.confidence)) if bounded else None,
        coverage=config.confidence,
        undecided=undecided,
    )


def _common_rows(candidate: Contender, production: Contender) -> tuple[list[dict[str, object]], tuple[str, ...]]:
    """Return the videos that both have a score for, and the groups left out because either was trained on them."""
    contracts = (candidate.contract, production.contract)
    theirs = {_key(row): row for row in _scored(production)}
    rows, left_out = [], set()
    for row in _scored(candidate):
        other = theirs.get(_key(row))
        if other is None or other["label"] != row["label"]:
            continue
        # People too: the two models may have been trained under splits that named their groups differently.
        names = {str(row["group"]), str(other["group"]), *people_of_id(str(row["video_id"]))}
        if any(contract.was_trained_on(names) for contract in contracts):
            left_out.add(str(row["group"]))
            continue
        rows.append({**row, "candidate": row["score"], "production": other["score"]})
    return rows, tuple(sorted(left_out))


def _scored(contender: Contender) -> list[dict[str, object]]:
    table = contender.predictions
    columns = [*KEY, "video_id", "group", "label", "score", "verdict"]
    return [row for row in table.select(columns).to_pylist() if row["verdict"] != "undecidable"] if table else []


def _key(row: dict[str, object]) -> tuple[object, ...]:
    return tuple(row[part] for part in KEY)


def _sample(rows: list[dict[str, object]], score: str) -> Sample:
    return Sample(
        labels=np.array([row["label"] for row in rows], dtype=np.int64),
        scores=np.array([row[score] for row in rows], dtype=np.float64),
        groups=np.array([row["group"] for row in rows], dtype=np.str_),
        methods=np.array([row["method"] for row in rows], dtype=np.str_),
        compressions=np.array([row["compression"] for row in rows], dtype=np.str_),
    )
