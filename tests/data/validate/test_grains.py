"""From tables to the columns that the suites look at."""

import numpy as np
import pytest

from deepfake_core.specs import SamplingSpec

FAKE = "ffpp/Deepfakes/c23/001_002"
ORIGINAL = "ffpp/original/c23/001"


def video(grains, video_id):
    return grains.videos.set_index("video_id").loc[video_id]


def faces_of(grains, video_id):
    place = int(np.flatnonzero(grains.videos["video_id"] == video_id)[0])
    return grains.faces[grains.faces["video"] == place]


def test_a_row_a_face_a_video_a_group_and_a_split(dataset):
    grains = dataset.grains()

    assert len(grains.faces) == len(dataset.faces)
    assert len(grains.videos) == len(dataset.videos)
    assert list(grains.groups["group"]) == ["001", "003", "005"]
    assert grains.groups["people"].iloc[0] == "ffpp/001, ffpp/002"
    assert list(grains.splits["split"]) == ["train", "val", "test"]
    assert list(grains.splits["smaller_class_share"]) == pytest.approx([0.2] * 3)
    assert list(grains.splits["method_imbalance"]) == [1.0] * 3
    assert len(grains.dataset) == 1


def test_boxes_are_measured_in_pixels_of_the_frame(dataset):
    first = dataset.rows_of("faces", FAKE)[0]
    first.update(x1=-20.0, y1=100.0, x2=40.0, y2=220.0)

    face = faces_of(dataset.grains(), FAKE).iloc[0]

    assert face["face_pixels"] == 60
    assert face["box_aspect"] == 2
    assert face["box_in_frame"] == pytest.approx(40 / 60)


def test_a_jump_is_measured_in_widths_of_the_box_it_left(dataset):
    for row in dataset.rows_of("faces", FAKE):
        row.update(x1=100.0, x2=150.0)
    dataset.rows_of("faces", FAKE)[4].update(x1=170.0, x2=270.0)

    jumps = faces_of(dataset.grains(), FAKE)["box_jump"].to_numpy()

    assert np.isnan(jumps[0]), "the first face has nothing to jump from"
    assert jumps[3] == 0
    assert jumps[4] == pytest.approx(95 / 50)
    assert jumps[5] == pytest.approx(95 / 100)


def test_a_face_that_comes_back_after_a_gap_did_not_jump(dataset):
    rows = dataset.rows_of("faces", FAKE)
    rows[3].update(status="no_face", x1=None, y1=None, x2=None, y2=None, sharpness=None)
    rows[4].update(x1=0.0, x2=50.0)

    faces = faces_of(dataset.grains(), FAKE)

    assert len(faces) == 11
    assert np.isnan(faces[faces["frame"] == 16]["box_jump"].iloc[0])


def test_the_order_of_the_index_does_not_matter(dataset):
    before = dataset.grains().faces
    np.random.default_rng(0).shuffle(dataset.faces)

    after = dataset.grains().faces

    assert after.equals(before)


def test_frames_are_expected_from_the_compressions_offset(dataset):
    grains = dataset.grains(sampling=SamplingSpec(step=10, offsets={"c40": 9}))

    assert video(grains, FAKE)["frames_expected"] == 5  # 0, 10, 20, 30, 40
    assert video(grains, FAKE.replace("c23", "c40"))["frames_expected"] == 4  # 9, 19, 29, 39


def test_a_limit_on_sampled_frames_is_no_loss(dataset):
    for row in dataset.extractions:
        row["frames_sampled"] = 5

    grains = dataset.grains(sampling=SamplingSpec(max_frames=5))

    assert (grains.videos["frame_count_error"] == 0).all()


@pytest.mark.parametrize("silent", [{"duration": None}, {"duration": 0.0}, {"fps": None}, {"fps": 0.0}])
def test_a_container_that_declares_no_length_is_as_long_as_its_frames(dataset, silent):
    dataset.rows_of("videos", FAKE)[0].update(silent)

    row = video(dataset.grains(), FAKE)

    assert row["frames_expected"] == 12
    assert row["frame_count_error"] == 0
    assert row["not_measured"] is None


@pytest.mark.parametrize(
    ("table", "unknown", "gap"),
    [
        ("videos", {"duration": None, "frames": None}, "its length"),
        ("extractions", {"frames_sampled": None}, "how many frames were sampled"),
        ("videos", {"sha256": None}, "its SHA-256"),
        ("faces", {"sharpness": None}, "size or sharpness of a face"),
        ("faces", {"x1": None}, "size or sharpness of a face"),
        ("faces", {"height": None}, "size or sharpness of a face"),
    ],
)
def test_what_was_never_measured_is_named(dataset, table, unknown, gap):
    dataset.rows_of(table, FAKE)[0].update(unknown)

    grains = dataset.grains()

    assert video(grains, FAKE)["not_measured"] == gap
    assert grains.videos["not_measured"].notna().sum() == 1


def test_rows_whose_video_is_gone_are_counted_by_table(dataset):
    dataset.drop("videos", FAKE)

    grains = dataset.grains()

    assert grains.dataset["unknown_rows"].iloc[0] == 14
    assert grains.strangers.to_dict("records") == [
        {"video_id": FAKE, "rows": 14, "where": "1 in the splits, 1 in the extractions, 12 in the faces"}
    ]


def test_one_frame_more_or_less_is_rounding(dataset):
    dataset.rows_of("extractions", FAKE)[0]["frames_sampled"] = 11
    dataset.rows_of("extractions", ORIGINAL)[0]["frames_sampled"] = 13

    grains = dataset.grains()

    assert video(grains, FAKE)["frame_count_error"] == 0
    assert video(grains, ORIGINAL)["frame_count_error"] == 0


def test_an_unreadable_video_is_asked_nothing_else(dataset):
    dataset.rows_of("videos", FAKE)[0].update(status="unreadable", reason="it is empty", duration=None, fps=None)
    for table in ("splits", "extractions", "faces"):
        dataset.drop(table, FAKE)

    row = video(dataset.grains(), FAKE)

    assert row["unreadable"] == 1
    assert row["why_unreadable"] == "it is empty"
    assert row[["lost_at", "frame_count_error", "faces", "no_face_share", "not_measured"]].isna().all()


@pytest.mark.parametrize(("table", "status"), [("videos", "unreadable"), ("extractions", "crashed")])
def test_an_unreadable_original_is_no_target(dataset, table, status):
    dataset.rows_of(table, ORIGINAL)[0].update(status=status, reason="it broke")

    grains = dataset.grains()

    assert video(grains, FAKE)["has_target"] == 0
    assert np.isnan(video(grains, ORIGINAL)["has_target"]), "an original needs no target"


def test_people_of_the_same_number_in_two_data_sets_are_two_people(dataset):
    for row in dataset.videos:
        if row["target"] in {"005", "006"}:
            row["dataset"] = "dfd"
        if row["name"] == "005":
            row["target"] = "001"

    grains = dataset.grains()

    assert grains.groups["shared_people"].isna().all()


def test_twins_name_each_other(dataset):
    same = "a" * 64
    for video_id in (FAKE, ORIGINAL):
        dataset.rows_of("videos", video_id)[0]["sha256"] = same

    grains = dataset.grains()

    assert video(grains, FAKE)["duplicate_of"] == ORIGINAL
    assert video(grains, ORIGINAL)["contradicted_by"] == FAKE


def test_tables_without_a_row_give_grains_that_fail_instead_of_breaking(dataset):
    for table in ("videos", "splits", "extractions", "faces"):
        setattr(dataset, table, [])

    grains = dataset.grains()

    assert grains.dataset["unreadable_share"].iloc[0] == 1.0
    assert list(grains.splits["faces"]) == [0, 0, 0]
    assert {check.name for check in dataset.checks().values() if check.refuses} >= {
        "No split is empty",
        "Nearly all videos can be read",
        "Nearly all frames show a face",
    }
