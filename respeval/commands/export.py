"""`respeval export …`: submissions to intercomparisons; heavy imports wait inside the commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from respeval.commands.examples import EXAMPLES
from respeval.commands.exits import one_line_errors
from respeval.commands.help_page import HelpfulCommand, HelpfulGroup
from respeval.commands.parameters import says

EXIT_INCOMPLETE = 1

export_app = typer.Typer(
    cls=HelpfulGroup,
    help="Submit a run to AIMIP: write CMIP files, and check them.",
    epilog=EXAMPLES["export"],
)


@export_app.command(cls=HelpfulCommand, epilog=EXAMPLES["aimip"])
@says
def aimip(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder of a finished run with save_members.")
    ],
    model: Annotated[str, typer.Option(metavar="NAME", help="Name of the model, without '_'.")],
    institute: Annotated[
        str, typer.Option(metavar="NAME", help="Short name of the institute, without '_'.")
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for the submission.")
    ],
    mapped: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="OUTPUT=CMIP",
            help="OUTPUT=CMIP, OUTPUT=CMIP@HPA or OUTPUT=CMIP:FACTOR, for outputs whose names are not "
            "known, or meant otherwise; repeat for several.",
        ),
    ] = None,
    spinup: Annotated[
        bool,
        typer.Option(
            "--spinup/--no-spinup", help="With the spin-up's months, which AIMIP asks for."
        ),
    ] = True,
    pressure_levels: Annotated[
        bool,
        typer.Option(
            "--pressure-levels",
            help="Numbered levels are levels of the checkpoint's pressures, not layers.",
        ),
    ] = False,
    grid_label: Annotated[
        str, typer.Option(metavar="gn|gr", help="gn: the model's own grid; gr: regridded.")
    ] = "gn",
    version: Annotated[
        str | None, typer.Option(metavar="vDATE", help="v and a date; default today.")
    ] = None,
    institution: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Full name of the institute; default its short name."),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Where more is said of the model; default AIMIP's page."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files of the same version.")
    ] = False,
) -> None:
    """Write the monthly means of every member as AIMIP phase 1 asks for them.

    One variable a file, in single precision, below {institute}/{model}/{experiment}/…: the baseline
    is aimip, uniform 2 K and 4 K are aimip-p2k and aimip-p4k.
    """
    with one_line_errors():
        from respeval.aimip import Wish, export_run, parse_map
        from respeval.presentation.console.json_output import answer
        from respeval.presentation.console.terminal import make_console, make_notes_console

        results, notes = make_console(), make_notes_console()
        wish = Wish(
            model,
            institute,
            grid_label,
            version,
            institution,
            given=parse_map(mapped),
            with_spinup=spinup,
            pressure_levels=pressure_levels,
            overwrite=overwrite,
            **({"further_info_url": url} if url else {}),
        )
        exported = export_run(folder, output, wish, notes.print)
        for remark in exported.remarks:
            notes.print(remark, highlight=False)
        first, last = exported.places[0], exported.places[-1]
        results.print(
            f"files: {len(exported.places)} of {exported.num_months} months, {output / first.path} to "
            f"{output / last.path}",
            highlight=False,
        )
        results.print(f"check them: respeval export check {output}", highlight=False)
        answer(
            lambda: {
                "folder": output,
                "num_months": exported.num_months,
                "files": [output / place.path for place in exported.places],
                "remarks": exported.remarks,
            }
        )


@export_app.command(cls=HelpfulCommand, epilog=EXAMPLES["check"])
@says
def check(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder that holds {institute}/{model}/….")
    ],
    period: Annotated[
        str | None,
        typer.Option(metavar="YYYYMM-YYYYMM", help="Months to expect; default 197810-202412."),
    ] = None,
) -> None:
    """Say what a submission to AIMIP holds and what it lacks; exit code 1 where it lacks anything."""
    with one_line_errors():
        from respeval.aimip import EXPERIMENTS, check_submission, parse_period
        from respeval.presentation.console.export import report_text
        from respeval.presentation.console.json_output import answer, submission_content
        from respeval.presentation.console.terminal import make_console

        console = make_console()
        reports = check_submission(folder, parse_period(period))
        for report in reports:
            console.print(report_text(report, list(EXPERIMENTS)), highlight=False)
        answer(lambda: submission_content(reports))
        if any(report.lacks for report in reports):
            raise typer.Exit(EXIT_INCOMPLETE)
