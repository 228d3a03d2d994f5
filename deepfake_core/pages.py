"""Self-contained HTML pages from the package's Jinja templates: the one look of all reports.

A page is one file: the style sheet is inside, images are data URIs, and its content security policy forbids it to
load anything. A template extends ``layout.html.j2`` and fills the blocks ``lead`` and ``content``; tables, cards
and images come from the macros of ``parts.html.j2``, the look from ``report.css.j2``.
"""

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import BaseModel, ConfigDict

from deepfake_core import resources

Tone = Literal["ok", "warn", "bad"]


class Banner(BaseModel):
    """The sentence at the top of a page.

    Attributes:
        tone: ``ok``, ``warn`` or ``bad``: its colour.
        title: the verdict in a few words.
        text: a sentence or two of explanation.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tone: Tone
    title: str
    text: str = ""


def render(template: str, *, title: str, banner: Banner | None = None, **values: Any) -> str:
    """Return a finished page.

    Args:
        template: name of a file in ``templates/``, such as ``evaluation.html.j2``.
        title: of the page.
        banner: the verdict on top; None: no banner.
        **values: what the template shows. Values are escaped; a value that the template names and that is missing
            is an error.
    """
    page = _environment().get_template(template)
    return page.render(title=title, banner=banner, made=datetime.now(UTC), **values)


def data_uri(data: bytes, *, kind: str) -> str:
    """Return ``data`` as a URI that an ``img`` element can show; ``kind`` is its media type, such as ``image/png``."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def image_of(path: Path) -> str:
    """Return a PNG, JPEG or SVG file as a data URI."""
    kinds = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".svg": "image/svg+xml"}
    return data_uri(path.read_bytes(), kind=kinds[path.suffix.lower()])


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(resources.templates_folder()),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["cell"] = format_cell
    environment.filters["percent"] = format_percent
    environment.tests["numeric"] = _is_number
    return environment


def format_cell(value: Any) -> str:
    """Return a value as people read it: three decimals, thousands apart, a dash for nothing, yes or no."""
    match value:
        case None | "":
            text = "–"
        case bool():
            text = "yes" if value else "no"
        case int():
            text = f"{value:,}".replace(",", "\u2009")
        case float():
            text = f"{value:.3f}"
        case Mapping():
            text = ", ".join(f"{key}: {format_cell(inner)}" for key, inner in value.items()) or "–"
        case list() | tuple() | set() | frozenset():
            text = ", ".join(format_cell(inner) for inner in value) or "–"
        case _:
            text = str(value)
    return text


def format_percent(value: float | None, decimals: int = 1) -> str:
    """Return a share as a percentage."""
    return "–" if value is None else f"{value:.{decimals}%}"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
