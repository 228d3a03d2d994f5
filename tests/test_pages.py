"""Pages are one file, escape what they show, and read well."""

import pytest
from jinja2 import UndefinedError

from deepfake_core import pages
from deepfake_core.pages import Banner, render


def test_a_page_is_self_contained_and_escapes_what_it_shows():
    page = render("layout.html.j2", title="<script>", banner=Banner(tone="bad", title="a & b", text="why"))

    assert page.lstrip().startswith("<!doctype html>")
    assert "<title>&lt;script&gt;</title>" in page
    assert "a &amp; b" in page
    assert "default-src 'none'" in page
    assert "<link" not in page
    assert "<script" not in page


def test_a_value_that_is_missing_is_an_error_and_not_an_empty_place():
    with pytest.raises(UndefinedError):
        render("promotion.html.j2", title="x")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (True, "yes"),
        (False, "no"),
        (1234567, "1\u2009234\u2009567"),
        (0.98765, "0.988"),
        ({"a": 1, "b": None}, "a: 1, b: –"),
        (["x", 2], "x, 2"),
        ((), "–"),
        ("plain", "plain"),
    ],
)
def test_a_cell_reads_as_people_write_it(value, shown):
    assert pages.format_cell(value) == shown


def test_an_image_becomes_part_of_the_page(tmp_path):
    (tmp_path / "x.png").write_bytes(b"png")

    assert pages.image_of(tmp_path / "x.png") == "data:image/png;base64,cG5n"
