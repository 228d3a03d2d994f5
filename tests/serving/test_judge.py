"""The contract alone turns the faces of a video into a verdict, and no face is not half a fake."""

import pyarrow as pa
import pytest

from deepfake_core import tables
from deepfake_core.contract import Threshold, read_contract
from deepfake_core.serving.judge import judge_video


def faces_of(*logits):
    rows = [{"frame": 4 * k, "logit": logit, "decoded": True} for k, logit in enumerate(logits)]
    return tables.from_rows(rows, tables.SCORED_FACES)


@pytest.fixture
def contract(tmp_path, write_tiny_model):
    return read_contract(write_tiny_model(tmp_path / "m.onnx", min_faces=2))


def test_a_video_is_judged_by_its_faces_and_frames_without_one_do_not_count(contract):
    row = judge_video(faces_of(2.0, None, 4.0), contract)

    assert row["status"] == "scored"
    assert row["verdict"] == "manipulated"
    assert row["score"] == pytest.approx(0.9526, abs=1e-4)  # the sigmoid of 3
    assert (row["frames_sampled"], row["frames_scored"], row["reason"]) == (3, 2, None)


def test_no_face_is_undecidable_and_has_no_score(contract):
    row = judge_video(faces_of(None, None), contract)

    assert (row["status"], row["verdict"], row["score"]) == ("no_face", "undecidable", None)
    assert row["reason"] == "no face was found in any of the 2 sampled frames."


def test_too_few_faces_are_scored_but_not_judged(contract):
    row = judge_video(faces_of(5.0, None), contract)

    assert (row["status"], row["verdict"]) == ("scored", "undecidable")
    assert "asks for 2" in row["reason"]


def test_the_threshold_of_the_contract_decides(tmp_path, write_tiny_model):
    strict = read_contract(
        write_tiny_model(tmp_path / "m.onnx", video_threshold=Threshold(value=0.99, chosen_by="a test"))
    )

    assert judge_video(faces_of(3.0), strict)["verdict"] == "original"
    assert judge_video(faces_of(6.0), strict)["verdict"] == "manipulated"


def test_a_damaged_video_is_scored_by_what_is_left_of_it_and_says_so(contract):
    lost = tables.from_rows([{"frame": 12, "decoded": False, "reason": "lost"}], tables.SCORED_FACES)

    row = judge_video(pa.concat_tables([faces_of(2.0, 4.0), lost]), contract)

    assert (row["status"], row["verdict"]) == ("scored", "manipulated")
    assert row["reason"] == "1 of the 3 sampled frames cannot be decoded: the file is damaged."
