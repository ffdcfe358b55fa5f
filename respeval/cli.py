"""The command line: options in, tables and files out, and the exit codes.

Heavy imports wait inside the commands, so that `respeval --help` answers at once.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from respeval.commands.exits import EXIT_BAD_INPUT, end, one_line_errors
from respeval.commands.export import export_app
from respeval.interpreter import nothing_collected

app = typer.Typer(
    help="How does a climate emulator's checkpoint respond to warming?",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

app.add_typer(export_app, name="export")

_CASE = "Case file"
_COMPUTE = "How to compute (results stay the same beyond rounding)"


#: What typer raises for wrong usage; it has no public name of its own.
_UsageError: Any = typer.BadParameter.__mro__[1]


def main() -> None:
    """The console script; also `python -m respeval`."""
    end(command(sys.argv[1:]))


def command(arguments: list[str]) -> int:
    """What `respeval ARGUMENTS` does; returns the exit code."""
    try:
        return app(arguments or ["--help"], standalone_mode=False) or 0
    except _UsageError as error:
        message = " ".join(str(error.format_message()).split())
        sys.stderr.write(f"respeval: {message} (see respeval COMMAND --help)\n")
        return EXIT_BAD_INPUT


Output = Annotated[Path, typer.Option("-o", "--output", help="Folder for the results.")]
Checkpoint = Annotated[Path, typer.Argument(help="Checkpoint file, for example checkpoint.pt.")]
Bands = Annotated[
    list[str] | None,
    typer.Option(
        "--bands",
        help="Band NAME=LOW:HIGH of |latitude|; several: repeat, or separate by commas.",
        rich_help_panel=_CASE,
    ),
]
TropicalLatMax = Annotated[
    float | None,
    typer.Option(help="The tropics are |latitude| below this.", rich_help_panel=_CASE),
]
Role = Annotated[
    list[str] | None,
    typer.Option(
        help="ROLE=VARIABLE, for example upper_level=air_temperature_2.", rich_help_panel=_CASE
    ),
]


Reference = Annotated[
    list[str] | None,
    typer.Option(
        "--reference",
        help="netCDF of responses, or another run's folder, that the response is held against; "
        "LABEL=FILE for one perturbation, repeat for several.",
        rich_help_panel=_CASE,
    ),
]


def _case(help_text: str, **options: Any) -> Any:
    return typer.Option(help=help_text, rich_help_panel=_CASE, **options)


def _folder(help_text: str, *names: str) -> Any:
    return typer.Option(*names, help=help_text, rich_help_panel="The folder holds a run already")


def _compute(help_text: str, *names: str) -> Any:
    return typer.Option(*names, help=help_text, rich_help_panel=_COMPUTE)


Reader = Annotated[
    list[str] | None,
    _case(
        "OPTION=VALUE of the checkpoint's reader; repeat for several. format=NAME chooses the reader."
    ),
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust-checkpoint",
        help="Let the reader run code that the file holds; without it none runs.",
    ),
]


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


@app.command()
def run(
    checkpoint: Annotated[
        list[Path],
        typer.Argument(help="Checkpoint files; several: a folder for each, in the one of -o."),
    ],
    output: Output,
    case: Annotated[
        Path | None,
        typer.Option(help="Case file (YAML); default: case.yaml beside the checkpoint."),
    ] = None,
    perturb: Annotated[
        list[str] | None,
        _case(
            "LABEL=uniform:KELVIN, LABEL=patch:KELVIN,lat_center=…,lon_center=…,lat_width=…,"
            "lon_width=… or LABEL=pattern:FILE,variable=NAME,scale=…; repeat for several. "
            "Replaces the case file's; default p4K=uniform:4."
        ),
    ] = None,
    years: Annotated[int | None, _case("Length of the run in years.")] = None,
    days: Annotated[int | None, _case("Length of the run in days.")] = None,
    steps: Annotated[int | None, _case("Length of the run in time steps.")] = None,
    spinup: Annotated[
        str | None, _case("Left out of the means, for example '1 year'; 'none' for nothing.")
    ] = None,
    segment: Annotated[
        str | None, _case("Period of one mean: month, year, all or 'N steps'.")
    ] = None,
    forcing: Annotated[
        str | None, _case("netCDF file, glob, folder of netCDF files, or zarr store.")
    ] = None,
    initial_condition: Annotated[
        str | None,
        _case(
            "File of initial conditions, (sample, lat, lon) with time(sample); or another run's "
            "folder, of which the baseline's end is taken."
        ),
    ] = None,
    start: Annotated[
        list[str] | None,
        typer.Option(
            "--start",
            "--start-date",
            help="Date of an initial condition to use; repeat for several. Under torchrun write "
            "--start-date, because torchrun takes --start for its own --start-method.",
            rich_help_panel=_CASE,
        ),
    ] = None,
    num_realizations: Annotated[
        int | None, _case("Noise realizations per initial condition.")
    ] = None,
    paired_noise: Annotated[
        bool | None, _case("Whether all groups of a sample draw the same noise.")
    ] = None,
    seed: Annotated[int | None, _case("Seed of the noise.")] = None,
    initial_condition_scope: Annotated[
        str | None, _case("Where the initial SST is perturbed: ocean, field or none.")
    ] = None,
    area_weights: Annotated[
        str | None, _case("grid, or cos_lat to compare with ACE's numbers.")
    ] = None,
    ocean_fraction_cutoff: Annotated[
        float | None, _case("Cells with a larger ocean fraction are ocean.")
    ] = None,
    tropical_lat_max: TropicalLatMax = None,
    bands: Bands = None,
    role: Role = None,
    repeat: Annotated[
        str | None, _case("year: a forcing of one year is used again and again; or none.")
    ] = None,
    save_members: Annotated[
        bool | None, _case("Whether segments keep every member's mean too.")
    ] = None,
    precision: Annotated[
        str | None,
        _case(
            "Numbers in which the network computes: float32 (default), tf32 (NVIDIA GPUs) or bfloat16. "
            "What it does to the response of the first day is measured and told."
        ),
    ] = None,
    protocol: Annotated[
        str | None,
        _case(
            "aimip: five samples under +2 K and +4 K as AIMIP phase 1 asks, for respeval export."
        ),
    ] = None,
    until: Annotated[
        list[str] | None,
        _case(
            "NAME\\[/PLACE]:FRACTION, for example land_ocean_warming_ratio/tropics:0.05: end the run at "
            "the end of the year in which the 95 % interval is that narrow (half of it, relative to "
            "the value) in every perturbation, or in LABEL/NAME\\[/PLACE]:FRACTION's; several: repeat, "
            "all are waited for; 'none' for the whole length."
        ),
    ] = None,
    reader: Reader = None,
    land_box: Annotated[
        list[str] | None,
        _case(
            "NAME=LAT_MIN,LAT_MAX,LON_MIN,LON_MAX or NAME=FILE:VARIABLE, a mask: a region whose land "
            "is compared with the ocean of its latitudes; repeat for several."
        ),
    ] = None,
    reference: Reference = None,
    probe_data: Annotated[
        str | None, _case("Training data for the gradient probe; kept in the case only.")
    ] = None,
    extend: Annotated[
        bool,
        _folder("Lengthen the run in the folder to this --years, --days or --steps.", "--extend"),
    ] = False,
    restart_fresh: Annotated[
        bool,
        _folder("Start over in a new folder beside it (DIR-2, DIR-3, …).", "--restart-fresh"),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Show what would run, with memory, time and disk space; nothing is written.",
        ),
    ] = False,
    device: Annotated[str | None, _compute("cpu or cuda; default: cuda where present.")] = None,
    threads: Annotated[
        int | None, _compute("Threads per process; default 1 under torchrun and on small grids.")
    ] = None,
    window: Annotated[int | None, _compute("Steps of forcing read at once.")] = None,
    samples_per_batch: Annotated[
        str | None,
        _compute(
            "Samples stepped at once; default 1 on a CPU, all on a GPU. auto: the fastest of a few "
            "sizes that are tried before the run."
        ),
    ] = None,
    fail_fast: Annotated[
        bool,
        _compute(
            "End at the first sample that blows up, instead of leaving it out of the means.",
            "--fail-fast",
        ),
    ] = False,
    compile_network: Annotated[
        bool,
        _compute(
            "Let torch.compile make the network faster, where it does; what it takes and wins is "
            "measured and told.",
            "--compile",
        ),
    ] = False,
    trust_checkpoint: Trust = False,
) -> None:
    """Run the baseline and all perturbed climates in one rollout, and diagnose the response.

    Several checkpoints run one after the other; one that fails does not stop the others.

    The same command goes on with a run that was stopped or killed. SIGTERM, SIGINT and SIGUSR1 stop
    it after the current step, with everything saved and exit code 75.

    The same command under `torchrun --nproc-per-node N -m respeval run …` uses N processes.
    """
    with one_line_errors():
        with nothing_collected():
            from respeval.case.options import check_at_least_one, parse_batch_size, parse_lists

        options = {
            "years": years,
            "days": days,
            "steps": steps,
            "spinup": spinup,
            "segment": segment,
            "forcing": forcing,
            "initial_condition": initial_condition,
            "start": start or None,
            "num_realizations": num_realizations,
            "paired_noise": paired_noise,
            "seed": seed,
            "initial_condition_scope": initial_condition_scope,
            "area_weights": area_weights,
            "ocean_fraction_cutoff": ocean_fraction_cutoff,
            "tropical_lat_max": tropical_lat_max,
            "repeat": repeat,
            "save_members": save_members,
            "precision": precision,
            "protocol": protocol,
            "until": until or None,
            "probe_data": probe_data,
            **parse_lists(perturb, bands, role, reader, reference, land_box),
        }
        for name, count in (("threads", threads), ("window", window)):
            check_at_least_one(name, count)
        compute = {
            "window_length": window,
            "samples_per_batch": parse_batch_size(samples_per_batch),
            "fail_fast": fail_fast,
            "compile": compile_network,
        }
        with nothing_collected():
            from respeval.commands.one_run import Wish
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
        )
        code = run_checkpoints(checkpoint, output, wish)
        if code:
            raise typer.Exit(code)


@app.command()
def diagnose(
    folder: Annotated[Path | None, typer.Argument(help="Folder of a finished run.")] = None,
    bands: Bands = None,
    tropical_lat_max: TropicalLatMax = None,
    role: Role = None,
    reference: Reference = None,
    land_box: Annotated[list[str] | None, typer.Option(hidden=True)] = None,
    listed: Annotated[
        bool, typer.Option("--list", help="Say what every diagnostic is; needs no folder.")
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Show every diagnostic, and why others are left out.")
    ] = False,
) -> None:
    """Recompute diagnostics, summary and figures from the saved means; needs no model.

    Segments and means are held against the manifest's checksums first.
    """
    with one_line_errors():
        if listed:
            from respeval.diagnostics import STATISTICS, catalog
            from respeval.presentation.console.catalog import catalog_text

            typer.echo(catalog_text(catalog(), STATISTICS))
            return
        if folder is None:
            from respeval.errors import InputError

            raise InputError("no folder is given: name that of a finished run, or ask for --list")
        if land_box:
            from respeval.errors import InputError

            raise InputError(
                "--land-box is an option of respeval run: the means over a box are taken while a run "
                "goes on, its files keep maps of all samples together; run again with it into another "
                "folder"
            )
        with nothing_collected():
            from respeval.run_folder.manifest import verification_of

        with verification_of(folder, num_cores_kept=1) as verification:
            with nothing_collected():
                from respeval.analysis.folder import settings_of_folder, sources_of_folder
                from respeval.analysis.results import analyse
                from respeval.case.options import parse_lists
                from respeval.presentation.console.tables import show_table

            options = {"tropical_lat_max": tropical_lat_max, **parse_lists(bands=bands, role=role)}
            settings = settings_of_folder(folder, options)
            sources = sources_of_folder(folder, parse_lists(reference=reference))
            found = analyse(folder, settings, sources=sources, verification=verification)
        show_table(folder, settings if everything else None, found.diagnostics)


@app.command()
def compare(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR",
            help="Folders of finished runs, of sweeps (all their runs), or quoted globs.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="Folder for comparison.csv, comparison.nc and figures/; without it nothing is "
            "written.",
        ),
    ] = None,
    diagnostics: Annotated[
        list[str] | None,
        typer.Option(
            help="Diagnostics that tables and figures show (see respeval diagnose --list; NAME_mean "
            "for the output NAME); several: repeat, or separate by commas. Default: the ratios in "
            "the tables, all named diagnostics in figures. The files have them all."
        ),
    ] = None,
    perturbation: Annotated[
        list[str] | None,
        typer.Option(help="Perturbation that tables and figures show; repeat for several."),
    ] = None,
    bands: Bands = None,
    tropical_lat_max: TropicalLatMax = None,
    workers: Annotated[
        int | None,
        _compute("Processes that read runs; default: by the number of runs and cores."),
    ] = None,
) -> None:
    """Show many runs beside each other, and where they differ from the first one.

    Differences have intervals of their own: paired year by year and sample by sample where the runs
    have the same samples, else of independent runs. Bands are those of the first run unless given;
    only zonal.nc of each run is read, and no model.
    """
    with one_line_errors():
        from respeval.analysis.comparison import Wishes
        from respeval.case.options import check_at_least_one, parse_lists
        from respeval.commands.compare import compare_folders

        check_at_least_one("workers", workers)
        names = [name for text in diagnostics or () for name in text.split(",") if name]
        regions = parse_lists(bands=bands)
        if tropical_lat_max is not None:
            regions["tropical_lat_max"] = tropical_lat_max
        compare_folders(folders, output, Wishes(names, perturbation or (), regions, workers))


@app.command()
def inspect(checkpoint: Checkpoint, reader: Reader = None, trust_checkpoint: Trust = False) -> None:
    """Show what is in a checkpoint and what data a run of it needs."""
    with one_line_errors():
        from respeval.case.options import parse_reader
        from respeval.commands.probe import inspect_checkpoint

        inspect_checkpoint(checkpoint, parse_reader(reader), trust_checkpoint)


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Folder to make.")],
    years: Annotated[int, typer.Option(help="Years in the means, after one of spin-up.")] = 3,
    samples: Annotated[int, typer.Option(help="Initial conditions.")] = 4,
) -> None:
    """Build the bundled planet, run both of its emulators under +2 K and +4 K, and compare.

    One emulator was trained with changed SSTs, the other on the present climate alone. The planet's
    true response is known, and stands beside theirs.
    """
    with one_line_errors():
        from respeval.case.options import check_at_least_one
        from respeval.commands.demo import run_demo

        check_at_least_one("years", years)
        check_at_least_one("samples", samples)

        run_demo(folder, years, samples)


def _probe(help_text: str, *names: str) -> Any:
    return typer.Option(*names, help=help_text, rich_help_panel="What is probed")


def _loss(help_text: str) -> Any:
    return typer.Option(help=help_text, rich_help_panel="The loss")


@app.command()
def gradient_probe(
    checkpoint: Checkpoint,
    output: Output,
    data: Annotated[
        str | None,
        typer.Option(
            help="Consecutive states: netCDF file, glob, folder of netCDF files, or zarr store; default: "
            "probe_data of the case file."
        ),
    ] = None,
    case: Annotated[
        Path | None,
        typer.Option(help="Case file (YAML); default: case.yaml beside the checkpoint."),
    ] = None,
    arm: Annotated[
        list[str] | None,
        _probe(
            "none, per_sample[:gamma=0.5,eps=0.02,max_ratio=none] or spectral_power; repeat for "
            "several, the first is what the others are compared with. Default: none and per_sample, or "
            "none and the whitening of --loss-config."
        ),
    ] = None,
    filters: Annotated[
        str | None, _probe("Glob over names of spectral filters; default all.", "--filter")
    ] = None,
    batches: Annotated[int, _probe("Number of batches.")] = 16,
    batch_size: Annotated[int, _probe("Pairs of states in a batch.")] = 8,
    ensemble: Annotated[
        int | None,
        _probe(
            "Members; default those of --loss-config, else 2, and 1 for a deterministic checkpoint."
        ),
    ] = None,
    input_noise: Annotated[
        float, _probe("Standard deviation of noise on the state, in units of its normalization.")
    ] = 0.0,
    seed: Annotated[int, _probe("Seed of the drawn pairs and of the noise.")] = 0,
    loss_config: Annotated[
        Path | None,
        _loss(
            "YAML file with fme's loss section (type EnsembleLoss), or a training configuration that "
            "holds it; in the place of all options below."
        ),
    ] = None,
    crps_weight: Annotated[float | None, _loss("Weight of the CRPS; default 0.9.")] = None,
    energy_score_weight: Annotated[
        float | None, _loss("Weight of the spectral term; default 0.1.")
    ] = None,
    finite_difference_weight: Annotated[
        float | None, _loss("Weight of the CRPS of finite differences; default 0.")
    ] = None,
    finite_difference_levels: Annotated[
        int | None,
        _loss("Levels of the finite differences, each twice as coarse; default 1."),
    ] = None,
    alpha: Annotated[
        float | None, _loss("Of the almost-fair CRPS; 1 is fair; default 0.95.")
    ] = None,
    checkpoint_activations: Annotated[
        bool,
        _compute(
            "Run each trajectory twice instead of keeping a batch's graph.",
            "--checkpoint-activations",
        ),
    ] = False,
    device: Annotated[str | None, _compute("cpu or cuda; default: cuda where present.")] = None,
    threads: Annotated[
        int | None, _compute("Threads per process; default 1 under torchrun and on small grids.")
    ] = None,
    reader: Reader = None,
    trust_checkpoint: Trust = False,
) -> None:
    """Measure how much gradient each spherical-harmonic degree's filter weights get.

    Arms are variants of the loss, compared on the same batches and the same forward pass. The same
    command under `torchrun --nproc-per-node N -m respeval gradient-probe …` uses N processes.
    """
    with one_line_errors():
        from respeval.case.options import check_at_least_one, parse_reader
        from respeval.commands.probe import probe_checkpoint

        for name, count in (("batches", batches), ("batch-size", batch_size), ("threads", threads)):
            check_at_least_one(name, count)
        terms = {
            "crps": crps_weight,
            "energy_score": energy_score_weight,
            "finite_difference_crps": finite_difference_weight,
            "finite_difference_levels": finite_difference_levels,
            "alpha": alpha,
        }
        settings = {
            "num_batches": batches,
            "batch_size": batch_size,
            "num_members": ensemble,
            "input_noise": input_noise,
            "filters": filters,
            "seed": seed,
            "recompute": checkpoint_activations,
        }
        opening = (parse_reader(reader), trust_checkpoint)
        sources, compute = (data, case), (device, threads)
        loss = (terms, loss_config)
        probe_checkpoint(checkpoint, output, sources, arm, settings, loss, compute, opening)


@app.command()
def report(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR",
            help="Folders of finished runs, of sweeps (all their runs), of gradient probes and of "
            "comparisons.",
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The page to write.")] = Path(
        "report.html"
    ),
    title: Annotated[str | None, typer.Option(help="Title of the page.")] = None,
) -> None:
    """Write one HTML page with the numbers, figures and provenance of runs, probes and comparisons.

    It needs no other file and no network. Several runs are compared at its top.
    """
    with one_line_errors():
        from respeval.commands.report import report_folders

        report_folders(folders, output, title)
