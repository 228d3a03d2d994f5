"""Figures are real images, drawn without a display and without leaving anything behind."""

import sys

import cv2
import numpy as np
import pytest

from deepfake_core import plots

LABELS = np.array([0, 0, 0, 1, 1, 1, 1])
SCORES = np.array([0.1, 0.4, 0.6, 0.3, 0.7, 0.8, 0.95])
HISTORY = [
    {"epoch": 1, "loss": 0.7, "val_loss": 0.69, "val_auc": None},
    {"epoch": 2, "loss": 0.5, "val_loss": 0.55, "val_auc": 0.8},
    {"epoch": 3, "loss": 0.4, "val_loss": 0.6, "val_auc": 0.78},
]
FIGURES = {
    "roc": lambda: plots.draw_roc({"videos": (LABELS, SCORES), "frames": (LABELS, 1 - SCORES)}),
    "confusion": lambda: plots.draw_confusion(np.array([[2, 1], [1, 3]])),
    "confusion of nothing": lambda: plots.draw_confusion(np.zeros((2, 2), dtype=np.int64)),
    "history": lambda: plots.draw_history(HISTORY, best_epoch=2),
    "one epoch": lambda: plots.draw_history(HISTORY[:1], best_epoch=1),
    "histogram": lambda: plots.draw_histogram(LABELS, SCORES, threshold=0.5),
    "calibration": lambda: plots.draw_calibration([0.1, 0.8], [0.0, 0.9], [3, 4], error=0.1),
    "breakdown": lambda: plots.draw_breakdown(
        {"Deepfakes": {"c23": 0.9, "c40": None}, "FaceSwap": {"c40": 1.0}}, title="x"
    ),
    "comparison": lambda: plots.draw_comparison(
        [("candidate", 0.9, 0.8, 0.95), ("production", 1.0, 1.0, 1.0)], title="x", x="AUC", limit=0.7, highest=1.0
    ),
    "faces": lambda: plots.face_grid(
        [np.full((8, 8, 3), 90, np.uint8)] * 5, ["original a", "manipulated b", "c", "", "e"]
    ),
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_becomes_a_png_that_shows_something(tmp_path, name):
    path = plots.save(FIGURES[name](), tmp_path / "figure.png")

    image = cv2.imread(str(path))
    assert image.shape[0] > 200
    assert image.shape[1] > 500
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 20
    assert image[0, 0].tolist() == [255, 255, 255]


def test_equal_figures_give_equal_bytes():
    assert plots.to_png(FIGURES["roc"]()) == plots.to_png(FIGURES["roc"]())


def test_drawing_touches_no_global_state():
    FIGURES["roc"]()

    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_a_grid_shows_each_face_in_its_own_colours():
    red = np.zeros((32, 32, 3), np.uint8)
    red[..., 0] = 255  # RGB

    image = cv2.imdecode(np.frombuffer(plots.to_png(plots.face_grid([red], ["original x"], columns=1)), np.uint8), 1)

    height, width = image.shape[:2]
    assert image[height // 2, width // 2].tolist() == [0, 0, 255]  # OpenCV reads BGR


def test_every_face_needs_a_caption():
    with pytest.raises(ValueError, match="2 faces, 1 captions"):
        plots.face_grid([np.zeros((8, 8, 3), np.uint8)] * 2, ["one"])
