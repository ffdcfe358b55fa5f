"""The page as HTML: one file, without a word from the network."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

import respeval
from respeval.presentation.report.contents import Contents
from respeval.presentation.report.parts import Cell

_TEMPLATE, _STYLE, _SCRIPT = "page.html", "page.css", "sort.js"


#: Figures of a section on paper, as page.css has it.
_MOST_PRINTED = 4


def render(contents: Contents, title: str, made: str) -> str:
    """The whole page. made: when and by which command, for its end.

    Everything that comes from a file is escaped. The browser is told to load nothing, and to run
    nothing but the script that sorts the tables.
    """
    style, script = _resource(_STYLE), _resource(_SCRIPT)
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(_resource(_TEMPLATE))
    return template.render(
        title=title,
        headline=contents.headline,
        classes=_classes,
        most_printed=_MOST_PRINTED,
        sections=contents.sections,
        made=made,
        version=respeval.__version__,
        policy=policy,
        style=style,
        script=script,
    )


def _classes(cell: Cell, column: int, num_labels: int) -> Markup:
    """The attribute `class` of a cell, nothing where it has none. column: counted from 0."""
    names = [f"label label-{column + 1}"] if column < num_labels else []
    names += ["number"] if cell.is_number else []
    names += [cell.size] if cell.size else []
    return Markup(f' class="{" ".join(names)}"') if names else Markup("")


@cache
def _resource(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """How a content security policy names a text within the page."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
