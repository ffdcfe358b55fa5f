"""The command line: options in, tables and files out, and the exit codes.

Options of case keys and of the probe come from their tables, where a command takes them as `**given`.
Heavy imports wait inside the commands, so that `respeval --help` answers at once.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from respeval.case.options import KEY, KEYS, read_options
from respeval.case.parsing import (
    check_at_least_one,
    parse_batch_size,
    parse_parts,
    parse_spatial,
)
from respeval.commands import parameters as p
from respeval.commands.examples import EXAMPLES
from respeval.commands.exits import EXIT_BAD_INPUT, end, one_line_errors
from respeval.commands.export import export_app
from respeval.commands.help_page import HelpfulCommand, HelpfulGroup
from respeval.interpreter import collect_garbage_rarely, make_streams_safe, take_huge_pages
from respeval.loss_probe.options import ARMS, LOSS, LOSS_CONFIG, RECOMPUTE, SETTINGS


class _Commands(HelpfulGroup):
    order = (
        *("inspect", "run", "diagnose", "compare", "report"),
        *("gradient-probe", "export", "schema", "demo"),
    )


app = typer.Typer(
    cls=_Commands,
    help="How does a climate emulator's checkpoint respond to warming?",
    epilog=EXAMPLES["respeval"],
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.add_typer(export_app, name="export")


def main() -> None:
    """The console script; also `python -m respeval`."""
    make_streams_safe()
    end(command(sys.argv[1:]))


def command(arguments: list[str]) -> int:
    """What `respeval ARGUMENTS` does; returns the exit code."""
    collect_garbage_rarely()
    take_huge_pages()
    try:
        given = arguments or ["--help"]
        return app(given, standalone_mode=False, prog_name="respeval") or 0
    except Exception as error:
        # Wrong usage says what it is so; the class that typer raises for it has no public name.
        told = getattr(error, "format_message", None)
        if told is None:
            raise
        message = " ".join(str(told()).split())
        sys.stderr.write(f"respeval: {message} (see respeval COMMAND --help)\n")
        return EXIT_BAD_INPUT


def _show_version(asked: bool) -> None:
    if asked:
        from respeval import __version__

        typer.echo(f"respeval {__version__}")
        raise typer.Exit


@app.callback()
def _respeval(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    pass


@app.command(cls=HelpfulCommand, epilog=EXAMPLES["inspect"])
@p.says
@p.takes(KEY["reader"])
def inspect(checkpoint: p.Checkpoint, *, trust_checkpoint: p.Trust = False, **given: Any) -> None:
    """Show what is in a checkpoint and what data a run of it needs."""
    with one_line_errors():
        from respeval.commands.probe import inspect_checkpoint

        options = read_options(KEYS, given).get("reader", {})
        inspect_checkpoint(checkpoint, options, trust_checkpoint)


@app.command(cls=HelpfulCommand, epilog=EXAMPLES["run"])
@p.says
@p.takes(*KEYS)
def run(
    checkpoint: p.Checkpoints,
    output: p.Output,
    case: p.CaseFile = None,
    *,
    extend: p.Extend = False,
    restart_fresh: p.RestartFresh = False,
    dry_run: p.DryRun = False,
    device: p.Device = None,
    threads: p.Threads = None,
    window: p.Window = None,
    samples_per_batch: p.SamplesPerBatch = None,
    spatial: p.Spatial = None,
    fail_fast: p.FailFast = False,
    compile_network: p.Compile = False,
    fast_transforms: p.FastTransforms = False,
    trust_checkpoint: p.Trust = False,
    no_literature: p.NoLiterature = False,
    **given: Any,
) -> None:
    """Run the baseline and all perturbed climates in one rollout, and diagnose the response.

    Several checkpoints run one after the other; one that fails does not stop the others.

    The same command goes on with a run that was stopped or killed. SIGTERM, SIGINT and SIGUSR1 stop
    it after the current step, with everything saved and exit code 75.

    The same command under `torchrun --nproc-per-node N -m respeval run …` uses N processes.
    """
    with one_line_errors():
        options = read_options(KEYS, given)
        check_at_least_one("--threads", threads)
        check_at_least_one("--window", window)
        compute = {
            "window_length": window,
            "samples_per_batch": parse_batch_size("--samples-per-batch", samples_per_batch),
            "fail_fast": fail_fast,
            "compile": compile_network,
            "fast_transforms": fast_transforms,
        }
        from respeval.api.one_run import Wish
        from respeval.commands.run import run_checkpoints

        wish = Wish(
            case,
            options,
            device,
            threads,
            compute,
            trust_checkpoint,
            extend,
            restart_fresh,
            dry_run,
            parse_spatial("--spatial", spatial),
            not no_literature,
        )
        code = run_checkpoints(checkpoint, output, wish)
        if code:
            raise typer.Exit(code)


@app.command(cls=HelpfulCommand, epilog=EXAMPLES["diagnose"])
@p.says
@p.takes(KEY["bands"], KEY["tropical_lat_max"], KEY["sst_boxes"], KEY["roles"], KEY["reference"])
def diagnose(
    folder: p.FinishedRun = None,
    *,
    land_box: Annotated[list[str] | None, typer.Option(hidden=True)] = None,
    listed: p.Listed = False,
    everything: p.Everything = False,
    no_literature: p.NoLiterature = False,
    **given: Any,
) -> None:
    """Recompute diagnostics, summary and figures from the saved means; needs no model.

    Segments and means are held against the manifest's checksums first.
    """
    with one_line_errors():
        from respeval.commands.diagnose import diagnose_folder, list_diagnostics

        if listed:
            list_diagnostics()
            return
        diagnose_folder(
            folder,
            given,
            everything,
            asks_for_boxes=bool(land_box),
            literature=not no_literature,
        )


@app.command(cls=HelpfulCommand, epilog=EXAMPLES["compare"])
@p.says
@p.takes(KEY["bands"], KEY["tropical_lat_max"], KEY["reference"])
def compare(
    folders: p.Compared,
    output: p.Comparison = None,
    diagnostics: p.Diagnostics = None,
    perturbation: p.Shown = None,
    maps: p.Maps = None,
    *,
    workers: p.Workers = None,
    **given: Any,
) -> None:
    """Show many runs beside each other, where they differ from the first one, and how far they are
    from a reference.

    Differences have intervals of their own: paired year by year and sample by sample where the runs
    have the same samples, else of independent runs. Bands are those of the first run unless given.
    The reference is what the runs' cases name, or the truth in their folders, if all that know one
    know the same. Only zonal.nc of each run is read, for maps response.nc too, and no model.
    """
    with one_line_errors():
        from respeval.analysis.comparison import Wishes
        from respeval.commands.compare import compare_folders

        check_at_least_one("--workers", workers)
        names, shown = (
            [name for text in texts or () for name in text.split(",") if name]
            for texts in (diagnostics, maps)
        )
        regions = read_options(KEYS, given)
        reference = regions.pop("reference", None)
        wishes = Wishes(names, perturbation or (), regions, workers, reference)
        compare_folders(folders, output, wishes, shown)


@app.command(cls=HelpfulCommand, epilog=EXAMPLES["report"])
@p.says
def report(
    folders: p.Reported,
    output: p.Page = Path("report.html"),
    title: Annotated[str | None, typer.Option(metavar="TEXT", help="Title of the page.")] = None,
    *,
    no_literature: p.NoLiterature = False,
) -> None:
    """Write one HTML page with the numbers, figures and provenance of runs, probes and comparisons.

    It opens with what the numbers say, needs no other file and no network. Several runs are compared at
    its top.
    """
    with one_line_errors():
        from respeval.commands.report import report_folders

        report_folders(folders, output, title, literature=not no_literature)


@app.command(cls=HelpfulCommand, epilog=EXAMPLES["gradient-probe"])
@p.says
@p.takes(KEY["reader"], ARMS, *SETTINGS, LOSS_CONFIG, *LOSS, RECOMPUTE)
def gradient_probe(
    checkpoint: p.Checkpoint,
    output: p.Output,
    data: p.Data = None,
    case: p.CaseFile = None,
    *,
    dry_run: p.DryProbe = False,
    device: p.Device = None,
    threads: p.Threads = None,
    spatial: p.ProbeSpatial = None,
    trust_checkpoint: p.Trust = False,
    **given: Any,
) -> None:
    """Measure how much gradient each spherical-harmonic degree's filter weights get.

    Arms are variants of the loss, compared on the same batches and the same forward pass. The same
    command under `torchrun --nproc-per-node N -m respeval gradient-probe …` uses N processes.
    """
    with one_line_errors():
        from respeval.api.probing import ProbeWish
        from respeval.commands.probe import probe_checkpoint

        settings = read_options((*SETTINGS, RECOMPUTE), given)
        check_at_least_one("--threads", threads)
        wish = ProbeWish(
            data=data,
            case=case,
            arms=given[ARMS.name],
            settings=settings,
            reader=read_options(KEYS, given).get("reader", {}),
            loss=read_options(LOSS, given),
            loss_config=given[LOSS_CONFIG.name],
            device=device,
            threads=threads,
            trust=trust_checkpoint,
            dry_run=dry_run,
            spatial=parse_parts("--spatial", spatial),
        )
        probe_checkpoint(checkpoint, output, wish)


@app.command(cls=HelpfulCommand, epilog=EXAMPLES["schema"])
def schema(output: p.SchemaFile = None) -> None:
    """Print the JSON schema of the case file, with which editors check and complete it.

    "# yaml-language-server: $schema=case.schema.json" as the first line of a case file names it.
    """
    with one_line_errors():
        from respeval.commands.schema import show_schema

        show_schema(output)


@app.command(cls=HelpfulCommand, epilog=EXAMPLES["demo"])
@p.says
def demo(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to make.")],
    years: Annotated[
        int, typer.Option(metavar="N", help="Years in the means, after one of spin-up.")
    ] = 3,
    samples: Annotated[int, typer.Option(metavar="N", help="Initial conditions.")] = 4,
) -> None:
    """Build the bundled planet, run both of its emulators under +2 K and +4 K, and compare.

    One emulator was trained with changed SSTs, the other on the present climate alone. The planet's
    true response is known, and stands beside theirs. DIR/report.html and DIR/comparison/figures show it.
    """
    with one_line_errors():
        from respeval.commands.demo import run_demo

        check_at_least_one("--years", years)
        check_at_least_one("--samples", samples)

        run_demo(folder, years, samples)
