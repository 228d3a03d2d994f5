"""Thresholds come from validation: the frame's from faces, the video's from aggregated videos."""

import numpy as np
import pytest

from deepfake_core.config import ExportConfig
from deepfake_core.errors import UndefinedMetric
from deepfake_core.model.validation import ScoredFaces, choose_thresholds, measure_validation, video_scores


@pytest.fixture
def faces() -> ScoredFaces:
    """Return two originals and two fakes of three faces each; single faces are wrong, whole videos are not."""
    logits = [-3, -2, 1.5, -2, -1, -3, 3, 2, -1, 4, 3, 2]
    ids = np.repeat(["a", "b", "c", "d"], 3)
    return ScoredFaces(np.float32(logits), np.repeat([0, 0, 1, 1], 3), ids)


def test_videos_are_aggregated_before_their_threshold_is_chosen(faces):
    thresholds = choose_thresholds(faces, config=ExportConfig())
    labels, scores = video_scores(faces, config=ExportConfig(), frame_threshold=thresholds.frame.value)

    assert labels.tolist() == [0, 0, 1, 1]
    assert scores[:2].max() < thresholds.video.value < scores[2:].min()
    assert thresholds.video.value != thresholds.frame.value
    measured = measure_validation(faces, config=ExportConfig(), thresholds=thresholds)
    assert measured["video_auc"] == measured["video_accuracy"] == 1.0
    assert measured["frame_auc"] < 1.0
    assert (measured["frames"], measured["videos"]) == (12, 4)


def test_votes_count_the_frames_over_the_frame_threshold(faces):
    config = ExportConfig(aggregation="vote", threshold=0.5)

    _, scores = video_scores(faces, config=config, frame_threshold=0.5)

    np.testing.assert_allclose(scores, [1 / 3, 0, 2 / 3, 1])


def test_the_equal_error_rate_can_choose(faces):
    thresholds = choose_thresholds(faces, config=ExportConfig(threshold="eer"))

    assert thresholds.video.chosen_by == "equal error rate on 4 validation videos"


def test_one_class_alone_gives_no_threshold(faces):
    only = ScoredFaces(faces.logits[:6], faces.labels[:6], faces.video_ids[:6])

    with pytest.raises(UndefinedMetric):
        choose_thresholds(only, config=ExportConfig())
