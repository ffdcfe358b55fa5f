"""What a notebook shows of a run: facts, the main numbers and a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from respeval.analysis.finished_runs import Run
from respeval.errors import InputError
from respeval.presentation.report.figures import QUESTIONS, read_figures
from respeval.presentation.report.parts import Figure, Section, Table
from respeval.presentation.report.runs import open_run, run_section
from respeval.run_folder.manifest import read_manifest
from respeval.run_folder.names import MANIFEST

_TEMPLATE = """\
<div>
<p><b>{{ heading }}</b></p>
{% for warning in warnings %}<p>⚠ {{ warning }}</p>{% endfor %}
{% for note in notes %}<p>{{ note }}</p>{% endfor %}
{% if facts %}<table>
{% for term, text in facts %}<tr><td style="text-align:left">{{ term }}</td>\
<td style="text-align:left">{{ text }}</td></tr>
{% endfor %}</table>{% endif %}
{% for table in tables %}<table>
<caption>{{ table.caption }}</caption>
<thead><tr>{% for heading in table.headings %}<th>{{ heading }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in table.rows %}<tr>{% for cell in row %}\
<td{% if not cell.is_number %} style="text-align:left"{% endif %}>{{ cell.text }}</td>\
{% endfor %}</tr>
{% endfor %}</tbody></table>
{% if table.note %}<p>{{ table.note }}</p>{% endif %}{% endfor %}
{% for figure in figures %}<img src="{{ figure.uri }}" alt="{{ figure.title }} {{ figure.caption }}" \
style="max-width:46em;width:100%">{% endfor %}
</div>
"""

#: The table and the picture that are shown of what a report would have.
_NUM_TABLES, _PICTURES = 1, ("response_map", "gradient_profile")


def run_view(folder: Path, heading: str) -> str:
    """A run as HTML, all that comes from files escaped; where it has not finished, why."""
    try:
        checkpoint = str(read_manifest(folder).get("checkpoint", ""))
        section = run_section(open_run(Run(folder, folder.name, checkpoint)))
    except InputError as error:
        return page(heading, warnings=[str(error)] if (folder / MANIFEST).is_file() else [])
    return view_of(section, heading, folder)


def view_of(section: Section, heading: str, folder: Path) -> str:
    """A report's section, shortened."""
    facts = [fact for fact in section.facts if fact[1]]
    tables = section.tables[:_NUM_TABLES]
    return page(heading, facts, tables, pictures_in(folder), section.warnings, section.notes)


def pictures_in(folder: Path) -> list[Figure]:
    """The picture to see first, of a folder's figures."""
    titles = [QUESTIONS[name][0] for name in _PICTURES if name in QUESTIONS]
    return [figure for figure in read_figures(folder) if figure.title in titles][:1]


def page(
    heading: str,
    facts: Sequence[tuple[str, str]] = (),
    tables: Sequence[Table] = (),
    figures: Sequence[Figure] = (),
    warnings: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> str:
    """A piece of HTML of these parts."""
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    return environment.from_string(_TEMPLATE).render(
        heading=heading, facts=facts, tables=tables, figures=figures, warnings=warnings, notes=notes
    )
