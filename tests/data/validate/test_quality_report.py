"""The page: the verdict first, the culprits with their faces, and not one request to elsewhere."""

import base64
import re

import numpy as np
import pytest

from deepfake_core.config import ValidateConfig
from deepfake_core.data.checks import Check, to_table, write_number
from deepfake_core.data.culprits import find_culprits
from deepfake_core.data.histograms import OUTSIDE, draw_histogram
from deepfake_core.data.quality_report import say_verdict, write_quality_report
from deepfake_core.data.suites import load_suites, run_suite
from deepfake_core.resources import expectations_folder

FAKE = "ffpp/Deepfakes/c23/001_002"
ORIGINAL = "ffpp/original/c23/001"


@pytest.fixture
def page(workspace, dataset):
    """Return a function that writes the report of the data set as it is and returns its HTML."""

    def write(*, config: ValidateConfig | None = None, **more) -> str:
        dataset.write(workspace)
        config = config or ValidateConfig()
        suites = load_suites(config.suites or expectations_folder(), config=config)
        grains = dataset.grains(**more)
        checks = [check for suite in suites for check in run_suite(suite, grains, config=config)]
        write_quality_report(workspace, suites=suites, checks=checks, grains=grains)
        return workspace.quality_report.read_text()

    return write


def test_a_passing_page_says_so_and_shows_faces_of_every_method(page):
    html = page()

    assert "Passed: all 24 checks hold" in html
    assert "What to do" not in html
    assert html.count('<img src="data:image/jpeg;base64,') == 5 * 6, "six people a method"
    assert html.count("<svg") == 1, "only the sharpness differs from face to face"


def test_people_whom_no_split_uses_are_shown_as_such(page, dataset):
    for row in dataset.videos:
        if row["target"] in {"001", "002"}:
            dataset.drop("splits", row["video_id"])

    html = page()

    assert "in no split" in html
    assert ">nan<" not in html


def test_the_page_asks_nothing_of_anybody(page):
    html = page()

    assert "default-src 'none'" in html
    addresses = re.findall(r'(?:src|href|url|action)\s*[=(]\s*["\']?([^"\')\s>]+)', html)
    assert addresses
    assert all(address.startswith("data:") for address in addresses)
    assert "<script" not in html
    assert "@import" not in html


def test_sample_faces_of_a_failing_check_are_the_worst_ones(page, dataset):
    for width, row in enumerate(dataset.faces[::12]):
        row["x2"] = row["x1"] + 5.0 + width

    html = page()

    section = html.split("Faces are large enough")[1].split("</section>")[0]
    pictures = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', section)
    assert len(pictures) == 8
    assert all(base64.b64decode(picture).startswith(b"\xff\xd8") for picture in pictures)
    assert "frame 0: 5 px" in section
    assert "The worst 8 of 27" in section


def lose_the_target(dataset) -> tuple[str, str]:
    dataset.drop_everywhere(ORIGINAL)
    return "Every fake has its target at the same compression", FAKE


def repeat_a_content(dataset) -> tuple[str, str]:
    dataset.rows_of("videos", FAKE)[0]["sha256"] = dataset.rows_of("videos", "ffpp/FaceSwap/c23/001_002")[0]["sha256"]
    return "No content comes twice", FAKE


def contradict_a_content(dataset) -> tuple[str, str]:
    dataset.rows_of("videos", FAKE)[0]["sha256"] = dataset.rows_of("videos", ORIGINAL)[0]["sha256"]
    return "No content stands under two labels or in two splits", FAKE


def lose_a_split(dataset) -> tuple[str, str]:
    dataset.drop("splits", FAKE)
    return "No readable video got lost", FAKE


def lose_frames(dataset) -> tuple[str, str]:
    dataset.rows_of("extractions", FAKE)[0]["frames_sampled"] = 8
    return "As many frames were sampled as the video is long", FAKE


def lose_a_face_of_the_index(dataset) -> tuple[str, str]:
    dataset.faces.remove(dataset.rows_of("faces", FAKE)[3])
    return "The tables agree about the faces", FAKE


def forget_a_digest(dataset) -> tuple[str, str]:
    dataset.rows_of("videos", FAKE)[0]["sha256"] = None
    return "What is judged was measured", FAKE


def forget_a_video(dataset) -> tuple[str, str]:
    dataset.drop("videos", FAKE)
    return "Every row belongs to a known video", FAKE


def tear_a_group(dataset) -> tuple[str, str]:
    dataset.rows_of("splits", FAKE)[0]["split"] = "test"
    return "No group stands in two splits", FAKE


def share_a_person(dataset) -> tuple[str, str]:
    dataset.rows_of("splits", ORIGINAL)[0]["group"] = "alone"
    return "No person belongs to two groups", ORIGINAL


def share_a_youtube_video(dataset) -> tuple[str, str]:
    dataset.rows_of("splits", ORIGINAL)[0]["collision"] = "005"
    return "No identity shares a YouTube video with another split", ORIGINAL


def drop_a_method(dataset) -> tuple[str, str]:
    for row in [row for row in dataset.splits if row["split"] == "test" and "FaceSwap" in row["video_id"]]:
        dataset.drop_everywhere(row["video_id"])
    return "Manipulations are balanced in every split", "/005_006"


def drop_a_compression(dataset) -> tuple[str, str]:
    for row in [row for row in dataset.splits if row["split"] == "test" and "/c40/" in row["video_id"]]:
        dataset.drop_everywhere(row["video_id"])
    return "Compressions are balanced in every split", "/005_006"


def miss_faces(dataset) -> tuple[str, str]:
    for row in dataset.extractions:
        misses = 6 if row["video_id"] == FAKE else 1
        row.update(faces=12 - misses, no_face=misses)
        for face in dataset.rows_of("faces", row["video_id"])[:misses]:
            dataset.faces.remove(face)
    return "Nearly all frames show a face", FAKE


@pytest.mark.parametrize(
    "spoil",
    [
        lose_the_target,
        repeat_a_content,
        contradict_a_content,
        lose_a_split,
        lose_frames,
        lose_a_face_of_the_index,
        forget_a_digest,
        forget_a_video,
        tear_a_group,
        share_a_person,
        share_a_youtube_video,
        drop_a_method,
        drop_a_compression,
        miss_faces,
    ],
    ids=lambda spoil: spoil.__name__,
)
def test_every_failing_check_shows_faces_of_what_is_wrong(page, dataset, spoil):
    name, shown = spoil(dataset)

    section = page().split(f"{name}</h2>")[1].split("</section>")[0]

    assert '<img src="data:image/jpeg;base64,' in section
    captions = re.findall("<figcaption>([^<]+)", section.replace("\u200b", ""))
    assert any(shown in caption for caption in captions)
    assert "no face to show" not in section


def test_a_number_that_stands_for_everything_says_that_it_has_no_faces(page):
    html = page(config=ValidateConfig(full_dataset=True))

    for name in ("All videos of the five sets at two compressions", "A test split of the notebook&#39;s size"):
        section = html.split(f"{name}</h2>")[1].split("</section>")[0]
        assert "no face to show: this is one number for everything" in section
        assert "<img" not in section


def test_videos_without_a_face_are_listed_and_say_so(page, dataset):
    dataset.drop("faces", FAKE)
    dataset.rows_of("extractions", FAKE)[0].update(faces=0, no_face=12, status="no_face")

    section = page().split("Every readable video has faces</h2>")[1].split("</section>")[0]

    assert FAKE in section
    assert "no face to show: none was found there" in section


def test_critical_failures_come_before_warnings(page, dataset):
    dataset.splits[-1]["collision"] = "001"
    dataset.drop_everywhere(ORIGINAL)

    html = page()

    assert "Refused: 1 critical check failed" in html
    assert "1 warning beside them" in html
    assert html.index("no original 001 at c23") < html.index("shares a YouTube video with 001")


def test_names_from_elsewhere_cannot_write_into_the_page(page, dataset):
    dataset.rows_of("videos", FAKE)[0].update(status="unreadable", reason="<script>alert(1)</script>")
    for table in ("splits", "extractions", "faces"):
        dataset.drop(table, FAKE)

    html = page()

    assert "<script>" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html


def test_an_unreadable_video_without_a_reason_says_so(page, dataset):
    dataset.rows_of("videos", FAKE)[0].update(status="unreadable", reason=None)

    html = page()

    section = html.split("Nearly all videos can be read")[1].split("</section>")[0]
    assert FAKE in section
    assert "unreadable, no reason was noted" in section
    assert ">nan<" not in section


def test_a_video_whose_faces_file_is_gone_is_listed_without_a_picture(page, dataset):
    dataset.rows_of("extractions", FAKE)[0]["digest"] = None

    html = page(file_problems={FAKE: "the file is gone"})

    section = html.split("Every faces file is there and whole")[1].split("</section>")[0]
    assert "the file is gone" in section
    assert "<img" not in section


@pytest.mark.parametrize(
    ("refused", "warned", "tone", "title"),
    [
        (0, 0, "ok", "Passed: all 1 checks hold"),
        (0, 2, "warn", "Passed with 2 warnings"),
        (2, 1, "bad", "Refused: 2 critical checks failed"),
    ],
)
def test_the_verdict_is_one_sentence(refused, warned, tone, title):
    checks = [make_check(), *[make_check(passed=False)] * refused]
    checks += [make_check(passed=False, severity="warning")] * warned

    banner = say_verdict(checks)

    assert (banner.tone, banner.title) == (tone, title)


def test_one_bad_video_does_not_hide_the_others(dataset):
    for row in dataset.rows_of("faces", FAKE):
        row["sharpness"] = 0.0
    dataset.rows_of("faces", ORIGINAL)[0]["sharpness"] = 0.5
    check = make_check(grain="faces", column="sharpness", bounds={"min_value": 1.0}, passed=False)

    culprits = find_culprits(check, dataset.grains())

    assert [culprit.name.split(",")[0] for culprit in culprits] == [FAKE, FAKE, ORIGINAL]


@pytest.mark.parametrize(
    ("kind", "arguments", "passed"),
    [
        ("expect_table_row_count_to_be_between", {"min_value": 60}, True),
        ("expect_table_row_count_to_be_between", {"min_value": 61}, False),
        ("expect_table_columns_to_match_set", {"column_set": ["video_id"], "exact_match": False}, True),
        ("expect_column_to_exist", {"column": "colour"}, False),
        ("expect_column_pair_values_a_to_be_greater_than_b", {"column_A": "frames", "column_B": "faces"}, True),
        ("expect_column_pair_values_a_to_be_greater_than_b", {"column_A": "faces", "column_B": "frames"}, False),
        ("expect_compound_columns_to_be_unique", {"column_list": ["name", "compression"]}, False),
    ],
)
def test_a_question_of_ones_own_to_a_table_or_to_several_columns_is_reported(page, own_suite, kind, arguments, passed):
    config = ValidateConfig(suites=own_suite({"type": kind, "kwargs": arguments, "description": "Mine"}))

    html = page(config=config)

    assert ("Passed: all 1 checks hold" in html) == passed
    assert ("Refused: 1 critical check failed" in html) != passed
    assert ">Mine<" in html


def test_the_values_of_several_columns_stand_beside_each_other(dataset, own_suite):
    pair = {"column_A": "faces", "column_B": "frames"}
    kind = "expect_column_pair_values_a_to_be_greater_than_b"
    dataset.rows_of("videos", FAKE)[0]["frames"] = 11
    dataset.rows_of("videos", ORIGINAL)[0]["frames"] = 12
    suites = own_suite({"type": kind, "kwargs": pair, "description": "Mine"})

    culprits = find_culprits(dataset.checks(config=ValidateConfig(suites=suites))["Mine"], dataset.grains())

    assert culprits[0].name == ORIGINAL
    assert culprits[0].seen == "faces 12, frames 12"
    assert FAKE not in {culprit.name for culprit in culprits}


@pytest.mark.parametrize(
    ("kind", "arguments", "offender"),
    [
        ("values_to_be_in_set", {"column": "compression", "value_set": ["c23"]}, "/c40/"),
        ("values_to_not_be_in_set", {"column": "compression", "value_set": ["c23"]}, "/c23/"),
        ("values_to_be_in_set", {"column": "label", "value_set": [1]}, "/original/"),
        ("values_to_match_regex", {"column": "name", "regex": "_"}, "/original/"),
        ("value_lengths_to_be_between", {"column": "name", "max_value": 3}, "_"),
        ("values_to_not_be_null", {"column": "source"}, "/original/"),
        ("values_to_be_null", {"column": "source"}, "_"),
        ("values_to_be_between", {"column": "label", "min_value": 0, "strict_min": True}, "/original/"),
    ],
)
def test_only_offenders_are_shown_as_culprits(dataset, own_suite, kind, arguments, offender):
    suites = own_suite({"type": f"expect_column_{kind}", "kwargs": arguments, "description": "Mine"})
    check = dataset.checks(config=ValidateConfig(suites=suites))["Mine"]

    culprits = find_culprits(check, dataset.grains())

    assert not check.passed
    assert len(culprits) == 8
    assert all(offender in culprit.name for culprit in culprits)


def test_nobody_in_particular_is_to_blame_for_a_mean(page, dataset, own_suite):
    mean = {"column": "frames", "max_value": 1}
    for frames, row in enumerate(dataset.videos):
        row["frames"] = frames
    suites = own_suite({"type": "expect_column_mean_to_be_between", "kwargs": mean, "description": "Mine"})
    config = ValidateConfig(suites=suites)

    assert find_culprits(dataset.checks(config=config)["Mine"], dataset.grains()) == ()
    assert OUTSIDE not in page(config=config).split("Distributions")[1].split("</section>")[0]


def test_a_torn_group_is_shown_from_both_sides(dataset):
    next(row for row in dataset.splits if row["video_id"] == FAKE)["split"] = "test"
    check = make_check(grain="groups", column="splits", bounds={"max_value": 1}, passed=False)

    (culprit,) = find_culprits(check, dataset.grains())

    assert culprit.seen == "in test, train"
    assert {place.remark for place in culprit.places} == {"train", "test"}


def test_bars_beyond_the_threshold_are_red():
    values = np.linspace(10, 100, 1000)

    assert OUTSIDE in draw_histogram(values, unit="px", low=32)
    assert OUTSIDE not in draw_histogram(values, unit="px", low=5)
    assert OUTSIDE in draw_histogram(values, unit="px", high=90)
    assert OUTSIDE not in draw_histogram(np.array([1.0, 2.0, 4.0]), unit="count", low=1.0, high=4.0)  # on the bounds


def test_values_of_several_decades_get_a_logarithmic_axis():
    svg = draw_histogram(np.geomspace(0.01, 100, 500), unit="number")

    assert [label for label in ("0.01", "1", "100") if f">{label}</text>" in svg] == ["0.01", "1", "100"]


@pytest.mark.parametrize("values", [[], [np.nan], [3.0], [0.0, 0.0], [-1.0, np.inf]])
def test_odd_distributions_are_drawn_or_left_out(values):
    svg = draw_histogram(np.array(values, dtype=float), unit="count", low=1.0)

    assert (svg == "") == (not np.isfinite(values).any())


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0512, "share", "5.12 %"),
        (1.0, "share", "100 %"),
        (1168000.0, "count", "1,168,000"),
        (2.5, "count", "2.5"),
        (1400.0, "rows", "1,400 rows"),
        (31.999, "px", "32 px"),
        (float("inf"), "ratio", "∞"),
        (None, "number", "no value"),
        (float("nan"), "number", "no value"),
        (0.00012345, "number", "0.000123"),
        (0.0, "widths", "0 box widths"),
    ],
)
def test_numbers_are_written_for_people(value, unit, text):
    assert write_number(value, unit) == text


def test_results_are_a_table(dataset):
    table = to_table(dataset.checks().values())

    assert table.num_rows == 24
    assert set(table["suite"].to_pylist()) == {"faces", "videos", "groups", "balance", "dataset"}


def make_check(**more) -> Check:
    values = {
        "suite": "faces", "grain": "faces", "name": "A check", "expectation": "expect_column_values_to_be_between",
        "column": "sharpness", "severity": "critical", "passed": True, "bounds": {},
    }  # fmt: skip
    return Check(**{**values, **more})
