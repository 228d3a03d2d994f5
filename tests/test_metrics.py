"""Metrics are taken by the whole video key, over groups of people, and are never made up."""

import numpy as np
import pytest

from deepfake_core import metrics, tables
from deepfake_core.errors import UndefinedMetric
from deepfake_core.metrics import Sample


def row(method, name, score, *, group, compression="c23", verdict=None, logits=(0.0,)):
    label = int(method != "original")
    return {
        "onnx_sha256": "0" * 64,
        "video_id": f"x/{method}/{compression}/{name}",
        "method": method,
        "compression": compression,
        "name": name,
        "group": group,
        "label": label,
        "frames": list(range(len(logits))),
        "frame_logits": list(logits),
        "score": score,
        "verdict": verdict or ("manipulated" if score >= 0.5 else "original"),
    }


def table(*rows):
    return tables.from_rows(rows, tables.PREDICTIONS)


def sample_of(labels, scores, groups):
    labels = np.asarray(labels)
    methods = np.where(labels == 1, "Deepfakes", "original")
    return Sample(labels, np.asarray(scores, float), np.asarray(groups, str), methods, np.full(len(labels), "c23"))


@pytest.fixture
def noisy():
    """Return 600 samples of 20 groups whose scores overlap."""
    rng = np.random.default_rng(0)
    labels = (rng.random(600) < 0.7).astype(int)
    return sample_of(labels, 1 / (1 + np.exp(-rng.normal(2 * labels - 1, 1.5))), rng.integers(0, 20, 600).astype(str))


def test_four_fakes_that_share_a_stem_are_four_videos():
    fakes = [("Deepfakes", 0.9), ("Face2Face", 0.2), ("FaceSwap", 0.9), ("NeuralTextures", 0.9)]
    rows = [row(method, "033_097", score, group="033") for method, score in fakes]
    rows += [row("original", name, score, group="033") for name, score in (("033", 0.1), ("097", 0.3))]

    videos = metrics.video_sample(table(*rows))

    assert len(videos) == 6
    # Averaged over the stem the fakes would be one video at 0.73, above both originals: a made-up AUC of 1.
    assert metrics.auc(videos.labels, videos.scores) == pytest.approx(7 / 8)


def test_a_video_key_that_stands_twice_is_refused():
    with pytest.raises(ValueError, match=r"must stand once.*'033_097'"):
        metrics.video_sample(table(*[row("Deepfakes", "033_097", 0.9, group="033")] * 2))


def test_videos_without_a_verdict_are_left_out_and_their_frames_kept():
    predictions = table(
        row("original", "001", 0.1, group="001", logits=(-1.0, -2.0)),
        row("Deepfakes", "001_002", 0.9, group="001", logits=(3.0,), verdict="undecidable"),
        row("Deepfakes", "002_001", None, group="001", logits=(), verdict="undecidable"),
    )

    frames = metrics.frame_sample(predictions)

    assert len(metrics.video_sample(predictions)) == 1
    assert frames.labels.tolist() == [0, 0, 1]
    assert frames.scores == pytest.approx([0.268941, 0.119203, 0.952574], abs=1e-6)


def test_a_method_stands_against_all_originals_of_its_compressions():
    rows = [row("original", "001", 0.1, group="001", compression=compression) for compression in ("c23", "c40")]
    rows += [row("Deepfakes", "001_002", 0.9, group="001", compression=c) for c in ("c23", "c40")]
    rows += [row("FaceSwap", "001_002", 0.9, group="001", compression="c23")]

    sizes = {
        (m, c): (len(part), int(part.labels.sum())) for m, c, part in metrics.slices(metrics.video_sample(table(*rows)))
    }

    assert sizes == {
        ("all", "all"): (5, 3),
        ("all", "c23"): (3, 2),
        ("all", "c40"): (2, 1),
        ("Deepfakes", "all"): (4, 2),
        ("Deepfakes", "c23"): (2, 1),
        ("Deepfakes", "c40"): (2, 1),
        ("FaceSwap", "all"): (2, 1),
        ("FaceSwap", "c23"): (2, 1),
    }


@pytest.mark.parametrize("metric", [metrics.auc, metrics.average_precision, metrics.eer, metrics.youden_threshold])
def test_one_class_is_an_error_and_no_number(metric):
    with pytest.raises(UndefinedMetric, match=r"both classes\. Received: 0 original, 3 manipulated"):
        metric([1, 1, 1], [0.1, 0.5, 0.9])


def test_a_summary_of_one_class_says_null_where_nothing_is_defined():
    summary = metrics.summarise(sample_of([1, 1], [0.9, 0.2], ["a", "b"]), threshold=0.5)

    assert summary["auc"] is summary["ap"] is summary["eer"] is summary["original_accuracy"] is None
    assert summary["recall"] == 0.5


def test_nothing_at_all_gives_no_metric():
    empty = sample_of([], [], [])

    assert set(metrics.summarise(empty, threshold=0.5).values()) == {None}
    with pytest.raises(UndefinedMetric, match="no samples"):
        metrics.classification([], [], threshold=0.5)


def test_scores_that_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match="finite"):
        metrics.auc([0, 1], [0.1, float("nan")])
    with pytest.raises(ValueError, match="2 labels, 1 scores"):
        metrics.auc([0, 1], [0.1])


def test_a_threshold_lies_between_the_classes_that_it_parts():
    labels, scores = [0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9]

    assert metrics.youden_threshold(labels, scores) == pytest.approx(0.5)
    assert metrics.eer(labels, scores) == pytest.approx((0.0, 0.5))


def test_the_equal_error_rate_is_where_misses_equal_false_alarms(noisy):
    rate, threshold = metrics.eer(noisy.labels, noisy.scores)

    fakes, originals = noisy.scores[noisy.labels == 1], noisy.scores[noisy.labels == 0]
    assert (fakes < threshold).mean() == pytest.approx(rate, abs=0.01)
    assert (originals >= threshold).mean() == pytest.approx(rate, abs=0.01)
    assert metrics.eer([0, 1, 0, 1], [0.4, 0.4, 0.4, 0.4])[0] == pytest.approx(0.5)


def test_no_threshold_has_a_better_youden_index(noisy):
    def youden(threshold):
        values = metrics.classification(noisy.labels, noisy.scores, threshold=threshold)
        return values["recall"] + values["original_accuracy"] - 1

    best = youden(metrics.youden_threshold(noisy.labels, noisy.scores))

    assert best == pytest.approx(max(youden(score) for score in np.unique(noisy.scores)))


def test_the_verdict_metrics_are_the_textbook_ones():
    labels, scores = [0, 0, 0, 1, 1], [0.1, 0.5, 0.2, 0.9, 0.4]  # a score at the threshold is manipulated

    values = metrics.classification(labels, scores, threshold=0.5)

    assert values == {"accuracy": 0.6, "recall": 0.5, "precision": 0.5, "f1": 0.5, "original_accuracy": 2 / 3}
    assert metrics.confusion(labels, scores, threshold=0.5).tolist() == [[2, 1], [1, 1]]


def test_the_calibration_error_is_zero_for_honest_scores_and_the_gap_for_boastful_ones():
    assert metrics.calibration_error([1, 0, 1, 0], [0.5, 0.5, 0.5, 0.5]) == pytest.approx(0.0)
    assert metrics.calibration_error([1, 0], [1.0, 1.0]) == pytest.approx(0.5)
    mean, share, count = metrics.calibration_curve([1, 0, 1], [0.95, 0.05, 1.0])
    assert (mean.tolist(), share.tolist(), count.tolist()) == ([0.05, 0.975], [0.0, 1.0], [1, 2])


@pytest.mark.parametrize("statistic", [*metrics.Statistic.__args__])
def test_a_resample_is_what_the_metric_says_of_the_drawn_groups(noisy, statistic):
    drawn = metrics.draw_groups(20, resamples=4, seed=3)
    _, group = np.unique(noisy.groups, return_inverse=True)

    values = metrics.resampled(noisy, drawn, statistic=statistic, threshold=0.4)

    for value, counts in zip(values, drawn, strict=True):
        written_out = noisy.where(np.repeat(np.arange(len(noisy)), counts[group]))
        assert value == pytest.approx(metrics.summarise(written_out, threshold=0.4)[statistic])


def test_ties_between_classes_count_half_in_every_resample():
    sample = sample_of([0, 1, 0, 1], [0.5, 0.5, 0.5, 0.5], ["a", "a", "b", "b"])

    values = metrics.resampled(sample, metrics.draw_groups(2, resamples=20, seed=0), statistic="auc")

    assert values == pytest.approx(np.full(20, 0.5))


def test_an_interval_holds_the_value_and_repeats_with_its_seed(noisy):
    first = metrics.bootstrap_interval(noisy, statistic="auc", seed=5)

    assert first.low < metrics.auc(noisy.labels, noisy.scores) < first.high
    assert first.groups == 20
    assert metrics.bootstrap_interval(noisy, statistic="auc", seed=5) == first
    assert metrics.bootstrap_interval(noisy, statistic="auc", seed=6) != first


def test_groups_are_the_unit_so_that_many_frames_of_few_people_prove_little():
    """A hundred copies of a frame must not make the interval narrower."""
    few = sample_of([0, 1, 0, 1, 0, 1, 0, 1], [0.2, 0.7, 0.6, 0.4, 0.1, 0.9, 0.3, 0.8], list("aabbccdd"))
    many = few.where(np.repeat(np.arange(8), 100))

    assert metrics.bootstrap_interval(many, statistic="auc", seed=1) == metrics.bootstrap_interval(
        few, statistic="auc", seed=1
    )


def test_one_group_has_no_interval():
    assert metrics.bootstrap_interval(sample_of([0, 1], [0.1, 0.9], ["a", "a"]), statistic="auc") is None


def test_resamples_of_one_class_are_left_out():
    one_original = sample_of([0, 1, 1], [0.1, 0.9, 0.8], ["a", "b", "c"])
    drawn = metrics.draw_groups(3, resamples=200, seed=0)

    values = metrics.resampled(one_original, drawn, statistic="auc")
    interval = metrics.bootstrap_interval(one_original, statistic="auc", resamples=200, seed=0)

    assert np.isnan(values).tolist() == ((drawn[:, 0] == 0) | (drawn[:, 0] == 3)).tolist()
    assert (interval.low, interval.high) == (1.0, 1.0)
