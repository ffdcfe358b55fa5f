"""What `respeval report` does: collect what the folders hold, and write the page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from respeval.errors import InputError
from respeval.files.publish import make_folder, write_text
from respeval.presentation.console.json_output import answer
from respeval.presentation.console.streams import say_line
from respeval.presentation.console.terminal import make_console
from respeval.presentation.report import Contents, collect, render

#: A larger page is slow to open and to send.
_MANY_BYTES = 20_000_000


def report_folders(
    folders: Sequence[Path], output: Path, title: str | None, *, literature: bool = True
) -> None:
    """`respeval report`."""
    contents = write_report(folders, output, make_console(), title, literature=literature)
    kinds = ("run", "probe", "comparison")
    answer(
        lambda: {
            "report": output,
            "bytes": output.stat().st_size,
            **{f"num_{kind}s": contents.count(kind) for kind in kinds},
            "num_figures": contents.num_figures,
        }
    )


def write_report(
    folders: Sequence[Path],
    output: Path,
    console: Console,
    title: str | None = None,
    *,
    literature: bool = True,
) -> Contents:
    """Write the page of these folders, whole or not at all, and say where it is; returns what is in it.

    literature: whether it tells what is published of models. Raises InputError where a folder or the
    file's place is not what it should be.
    """
    if output.is_dir():
        raise InputError(f"{output} is a folder; name the page, for example {output}/report.html")
    contents = collect(folders, say_line, literature=literature)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    page = render(contents, title or _title(contents), f"Written {now} by respeval report.")
    make_folder(output.parent)
    write_text(output, page)
    size = len(page.encode())
    held = f"{_counted(contents)}, {contents.num_figures} figures"
    console.print(f"report: {output}, {size / 1e6:.1f} MB: {held}", highlight=False)
    if size > _MANY_BYTES:
        say_line(f"{output} has {size / 1e6:.0f} MB; a browser opens reports of fewer runs faster")
    return contents


def _title(contents: Contents) -> str:
    named = [section.title for section in contents.sections if section.kind != "comparison"]
    return f"respeval: {named[0] if len(named) == 1 else _counted(contents)}"


def _counted(contents: Contents) -> str:
    """2 runs, 1 probe, 1 comparison; what there is."""
    parts = ((contents.count(kind), kind) for kind in ("run", "probe", "comparison"))
    return ", ".join(f"{number} {kind}{'s' * (number > 1)}" for number, kind in parts if number)
