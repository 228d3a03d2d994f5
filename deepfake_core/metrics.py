"""How well scores tell manipulated from original: metrics, thresholds and bootstrap intervals over groups.

A sample is a video or a frame, never a file stem: four fakes share the stem ``033_097``, and an average over a stem
mixes them. Label 1 is manipulated, scores are probabilities of *manipulated*. People are the unit of resampling:
the videos of one group (an original and every fake made of it) stand or fall together.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from sklearn import metrics as sklearn_metrics

from deepfake_core.aggregation import sigmoid
from deepfake_core.errors import UndefinedMetric

CALIBRATION_BINS = 10
ALL = "all"
"""Name of the slice over all methods or all compressions."""

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Strings = npt.NDArray[np.str_]
Statistic = Literal["auc", "accuracy", "recall", "precision", "f1", "original_accuracy", "calibration_error"]


# One sample a row ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sample:
    """Scored videos or frames; five arrays of shape (samples,).

    Attributes:
        labels: 0 original, 1 manipulated.
        scores: probability of manipulated.
        groups: whose video it is.
        methods: ``original`` or the manipulation.
        compressions: ``raw``, ``c23`` or ``c40``.
    """

    labels: Ints
    scores: Floats
    groups: Strings
    methods: Strings
    compressions: Strings

    def __len__(self) -> int:
        return len(self.labels)

    def where(self, chosen: npt.NDArray[np.bool_]) -> "Sample":
        """Return the chosen samples."""
        return Sample(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})


def video_sample(predictions: pa.Table) -> Sample:
    """Return the videos of a predictions table (``tables.PREDICTIONS``); the undecidable ones are left out.

    Raises:
        ValueError: a video key (method, compression, name) stands in it twice.
    """
    _refuse_repeated_keys(predictions)
    predictions = predictions.filter(pc.not_equal(predictions["verdict"], "undecidable"))
    return _sample(predictions, scores=np.asarray(predictions["score"].to_numpy(), dtype=np.float64))


def frame_sample(predictions: pa.Table) -> Sample:
    """Return the frames of a predictions table, each with the label and the group of its video.

    Raises:
        ValueError: a video key (method, compression, name) stands in it twice.
    """
    _refuse_repeated_keys(predictions)
    frames = predictions["frame_logits"].combine_chunks()
    rows = frames.value_parent_indices()
    return _sample(predictions.take(rows), scores=sigmoid(frames.flatten().to_numpy(zero_copy_only=False)))


def _sample(rows: pa.Table, *, scores: Floats) -> Sample:
    def strings(column: str) -> Strings:
        return np.asarray(rows[column].to_pylist(), dtype=np.str_)

    return Sample(
        labels=np.asarray(rows["label"].to_numpy(), dtype=np.int64),
        scores=scores,
        groups=strings("group"),
        methods=strings("method"),
        compressions=strings("compression"),
    )


def _refuse_repeated_keys(predictions: pa.Table) -> None:
    keys = predictions.select(["method", "compression", "name"]).group_by(["method", "compression", "name"])
    counted = keys.aggregate([([], "count_all")])
    repeated = counted.filter(pc.greater(counted["count_all"], 1)).to_pylist()
    if repeated:
        key = tuple(repeated[0][part] for part in ("method", "compression", "name"))
        message = f"a video must stand once in the predictions. Received: {key} {repeated[0]['count_all']} times"
        raise ValueError(message)


def slices(sample: Sample) -> Iterator[tuple[str, str, Sample]]:
    """Yield (method, compression, its part) for every method and compression and for ``all`` of either.

    A method's part is its fakes and all originals of the same compressions, so that it has both classes.
    """
    originals = sample.labels == 0
    methods = sorted(set(sample.methods[~originals].tolist()))
    for method in (ALL, *methods):
        of_method = np.ones(len(sample), dtype=np.bool_) if method == ALL else sample.methods == method
        present = sorted(set(sample.compressions[of_method].tolist()))
        for compression in (ALL, *present):
            wanted = present if compression == ALL else [compression]
            yield method, compression, sample.where((of_method | originals) & np.isin(sample.compressions, wanted))


# Metrics ------------------------------------------------------------------------------------------------------------


def auc(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Return the area under the ROC curve.

    Raises:
        UndefinedMetric: only one class is present.
    """
    y, s = _checked(labels, scores, both="the AUC")
    return float(sklearn_metrics.roc_auc_score(y, s))


def average_precision(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Return the average precision of finding the manipulated.

    Raises:
        UndefinedMetric: only one class is present.
    """
    y, s = _checked(labels, scores, both="the average precision")
    return float(sklearn_metrics.average_precision_score(y, s))


def eer(labels: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[float, float]:
    """Return the equal error rate and the threshold nearest to it.

    The rate is where the straight line between neighbouring points of the ROC curve crosses *misses = false alarms*.

    Raises:
        UndefinedMetric: only one class is present.
    """
    y, s = _checked(labels, scores, both="the equal error rate")
    false_alarms, hits, thresholds = sklearn_metrics.roc_curve(y, s, drop_intermediate=False)
    gap = false_alarms - (1.0 - hits)  # rises from -1 to 1
    after = int(np.argmax(gap >= 0))
    before = max(after - 1, 0)
    rise = gap[after] - gap[before]
    share = 0.0 if rise == 0 else -gap[before] / rise
    rate = false_alarms[before] + share * (false_alarms[after] - false_alarms[before])
    nearest = 1 + int(np.argmin(np.abs(gap[1:])))
    return float(rate), _between(s, thresholds[nearest])


def youden_threshold(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Return the threshold of the largest Youden index (hit rate − false alarm rate).

    It lies half-way between the lowest score that it calls manipulated and the highest one below. Of equally good
    thresholds the one with the most equal error rates is taken.

    Raises:
        UndefinedMetric: only one class is present.
    """
    y, s = _checked(labels, scores, both="the Youden threshold")
    false_alarms, hits, thresholds = sklearn_metrics.roc_curve(y, s, drop_intermediate=False)
    false_alarms, hits, thresholds = false_alarms[1:], hits[1:], thresholds[1:]  # without the point at infinity
    youden = np.round(hits - false_alarms, 12)
    best = np.flatnonzero(youden == youden.max())
    balance = np.abs(1.0 - hits[best] - false_alarms[best])
    return _between(s, thresholds[best[np.argmin(balance)]])


def _between(scores: Floats, threshold: float) -> float:
    """Move a threshold from a score to half-way below it, where rounding cannot change a verdict."""
    below = scores[scores < threshold]
    return float(threshold if below.size == 0 else (threshold + below.max()) / 2)


def classification(labels: npt.ArrayLike, scores: npt.ArrayLike, *, threshold: float) -> dict[str, float | None]:
    """Return the metrics of verdicts at a threshold; a score that equals it means manipulated.

    Returns:
        ``accuracy``, ``recall`` and ``precision`` of manipulated, ``f1``, ``original_accuracy`` (the share of
        originals left in peace); null where there is nothing to divide by.

    Raises:
        UndefinedMetric: there are no samples.
    """
    y, s = _checked(labels, scores)
    counts = confusion(y, s, threshold=threshold)
    tn, fp, fn, tp = (float(value) for value in counts.ravel())
    return {
        "accuracy": (tp + tn) / len(y),
        "recall": tp / (tp + fn) if tp + fn else None,
        "precision": tp / (tp + fp) if tp + fp else None,
        "f1": 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else None,
        "original_accuracy": tn / (tn + fp) if tn + fp else None,
    }


def confusion(labels: npt.ArrayLike, scores: npt.ArrayLike, *, threshold: float) -> Ints:
    """Return counts of shape (2, 2): true class by row, verdict by column, original first."""
    y, s = _checked(labels, scores)
    return np.bincount(2 * y + (s >= threshold), minlength=4).reshape(2, 2).astype(np.int64)


def calibration_error(labels: npt.ArrayLike, scores: npt.ArrayLike, *, bins: int = CALIBRATION_BINS) -> float:
    """Return the expected calibration error: mean |score − share of manipulated| over bins of equal width.

    Raises:
        UndefinedMetric: there are no samples.
    """
    y, s = _checked(labels, scores)
    place = _bins_of(s, bins)
    gap = np.abs(np.bincount(place, weights=s, minlength=bins) - np.bincount(place, weights=y, minlength=bins))
    return float(gap.sum() / len(y))


def calibration_curve(
    labels: npt.ArrayLike, scores: npt.ArrayLike, *, bins: int = CALIBRATION_BINS
) -> tuple[Floats, Floats, Ints]:
    """Return mean score, share of manipulated and count of each bin that holds a sample."""
    y, s = _checked(labels, scores)
    place = _bins_of(s, bins)
    count = np.bincount(place, minlength=bins)
    filled = count > 0
    mean = np.bincount(place, weights=s, minlength=bins)[filled] / count[filled]
    share = np.bincount(place, weights=y, minlength=bins)[filled] / count[filled]
    return mean, share, count[filled].astype(np.int64)


def summarise(sample: Sample, *, threshold: float) -> dict[str, float | None]:
    """Return every metric of a sample by name; null where one is not defined (such as the AUC of one class)."""
    if len(sample) == 0:
        names = ("auc", "ap", "eer", "accuracy", "recall", "precision", "f1", "original_accuracy", "calibration_error")
        return dict.fromkeys(names)
    both = 0 < sample.labels.sum() < len(sample)
    labels, scores = sample.labels, sample.scores
    return {
        "auc": auc(labels, scores) if both else None,
        "ap": average_precision(labels, scores) if both else None,
        "eer": eer(labels, scores)[0] if both else None,
        **classification(labels, scores, threshold=threshold),
        "calibration_error": calibration_error(labels, scores),
    }


def _bins_of(scores: Floats, bins: int) -> Ints:
    return np.clip((scores * bins).astype(np.int64), 0, bins - 1)


def _checked(labels: npt.ArrayLike, scores: npt.ArrayLike, *, both: str = "") -> tuple[Ints, Floats]:
    y = np.asarray(labels).astype(np.int64).ravel()
    s = np.asarray(scores, dtype=np.float64).ravel()
    if y.shape != s.shape:
        message = f"labels and scores must be equally many. Received: {len(y)} labels, {len(s)} scores"
        raise ValueError(message)
    if len(y) == 0:
        message = "no metric is defined on no samples at all."
        raise UndefinedMetric(message)
    if not np.isfinite(s).all():
        message = f"scores must be finite numbers. Received: {int((~np.isfinite(s)).sum())} that are not"
        raise ValueError(message)
    if both and not 0 < y.sum() < len(y):
        message = f"{both} needs both classes. Received: {len(y) - y.sum()} original, {y.sum()} manipulated"
        raise UndefinedMetric(message)
    return y, s


# Bootstrap over groups ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Interval:
    """A percentile bootstrap interval.

    Attributes:
        low: its lower end.
        high: its upper end.
        coverage: such as 0.95.
        groups: how many groups were drawn from.
    """

    low: float
    high: float
    coverage: float
    groups: int


def draw_groups(groups: int, *, resamples: int, seed: int) -> Ints:
    """Return how often each group is drawn in each resample; shape (resamples, groups), rows sum to ``groups``."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(groups, np.full(groups, 1.0 / groups), size=resamples).astype(np.int64)


def bootstrap_interval(
    sample: Sample,
    *,
    statistic: Statistic,
    threshold: float = 0.5,
    resamples: int = 1000,
    coverage: float = 0.95,
    seed: int = 0,
) -> Interval | None:
    """Return the percentile interval of a metric over resampled groups, or None with fewer than two groups.

    Resamples in which the metric is not defined, such as those of one class, are left out; None where that leaves
    fewer than half.
    """
    groups = len(np.unique(sample.groups))
    if groups < 2:
        return None
    drawn = draw_groups(groups, resamples=resamples, seed=seed)
    values = resampled(sample, drawn, statistic=statistic, threshold=threshold)
    values = values[np.isfinite(values)]
    if len(values) < resamples / 2:
        return None
    low, high = np.quantile(values, [(1 - coverage) / 2, (1 + coverage) / 2])
    return Interval(float(low), float(high), coverage, groups)


def resampled(sample: Sample, drawn: Ints, *, statistic: Statistic, threshold: float = 0.5) -> Floats:
    """Return the metric in each resample.

    Args:
        sample: what was scored.
        drawn: shape (resamples, groups), from ``draw_groups``; groups in sorted order. Two models are compared pairwise
            by giving both the same ``drawn``.
        statistic: which metric.
        threshold: of the verdicts.

    Returns:
        Shape (resamples,); NaN where a resample leaves the metric undefined.
    """
    names, group = np.unique(sample.groups, return_inverse=True)
    if drawn.shape[1] != len(names):
        message = f"drawn must have a column a group. Received: {drawn.shape[1]} columns, {len(names)} groups"
        raise ValueError(message)
    with np.errstate(invalid="ignore", divide="ignore"):
        if statistic == "auc":
            return _resampled_auc(sample, group, drawn)
        if statistic == "calibration_error":
            return _resampled_calibration(sample, group, drawn)
        return _resampled_verdicts(sample, group, drawn, statistic=statistic, threshold=threshold)


def _resampled_auc(sample: Sample, group: Ints, drawn: Ints) -> Floats:
    # wins[g, h]: how often a fake of group g is scored above an original of group h. Every resample is then a
    # quadratic form of it, whatever the number of frames.
    count = drawn.shape[1]
    fake = sample.labels == 1
    order = np.argsort(group[fake], kind="stable")
    fakes, fake_group = sample.scores[fake][order], group[fake][order]
    wins = np.zeros((count, count))
    originals_of = np.bincount(group[~fake], minlength=count).astype(np.float64)
    for h in np.flatnonzero(originals_of):
        originals = np.sort(sample.scores[~fake & (group == h)])
        above = np.searchsorted(originals, fakes, "left") + np.searchsorted(originals, fakes, "right")
        wins[:, h] = np.bincount(fake_group, weights=above / 2, minlength=count)
    weights = drawn.astype(np.float64)
    fakes_of = np.bincount(fake_group, minlength=count).astype(np.float64)
    pairs = (weights @ fakes_of) * (weights @ originals_of)
    return np.asarray(np.einsum("rg,gh,rh->r", weights, wins, weights, optimize=True) / pairs)


def _resampled_calibration(sample: Sample, group: Ints, drawn: Ints) -> Floats:
    count = drawn.shape[1]
    place = group * CALIBRATION_BINS + _bins_of(sample.scores, CALIBRATION_BINS)
    size = count * CALIBRATION_BINS
    gap = np.bincount(place, weights=sample.scores - sample.labels, minlength=size).reshape(count, CALIBRATION_BINS)
    total = drawn @ np.bincount(group, minlength=count)
    return np.asarray(np.abs(drawn @ gap).sum(axis=1) / total)


def _resampled_verdicts(sample: Sample, group: Ints, drawn: Ints, *, statistic: Statistic, threshold: float) -> Floats:
    cell = 4 * group + 2 * sample.labels + (sample.scores >= threshold)
    counts = np.bincount(cell, minlength=4 * drawn.shape[1]).reshape(-1, 4)
    tn, fp, fn, tp = (drawn @ counts).astype(np.float64).T
    by_name = {
        "accuracy": lambda: (tp + tn) / (tn + fp + fn + tp),
        "recall": lambda: tp / (tp + fn),
        "precision": lambda: tp / (tp + fp),
        "f1": lambda: 2 * tp / (2 * tp + fp + fn),
        "original_accuracy": lambda: tn / (tn + fp),
    }
    return np.asarray(by_name[statistic]())
