"""The command line: options in, tables and files out, and the exit codes.

Heavy imports wait inside the commands, so that `respeval --help` answers at once.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from respeval.comm import Comm

EXIT_BAD_INPUT = 2
EXIT_BLOWN_UP = 3
EXIT_INTERRUPTED = 130

app = typer.Typer(
    help="How does a climate emulator's checkpoint respond to warming?",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

_CASE = "Case file"
_COMPUTE = "How to compute (results stay the same beyond rounding)"


#: What typer raises for wrong usage; it has no public name of its own.
_UsageError: Any = typer.BadParameter.__mro__[1]


def main() -> None:
    """The console script; also `python -m respeval`."""
    try:
        code = app(["--help"] if len(sys.argv) == 1 else None, standalone_mode=False)
    except _UsageError as error:
        message = " ".join(str(error.format_message()).split())
        sys.stderr.write(f"respeval: {message} (see respeval COMMAND --help)\n")
        sys.exit(EXIT_BAD_INPUT)
    sys.exit(code or 0)


@contextlib.contextmanager
def _one_line_errors() -> Iterator[None]:
    """Turn what a user can cause into one line on stderr and its exit code."""
    from respeval.errors import BlowUpError, InputError, SharedInputError

    try:
        yield
    except SharedInputError as error:
        _leave(str(error) if os.environ.get("RANK", "0") == "0" else "", EXIT_BAD_INPUT)
    except InputError as error:
        _leave(str(error), EXIT_BAD_INPUT)
    except BlowUpError as error:
        _leave(str(error), EXIT_BLOWN_UP)
    except KeyboardInterrupt:
        _leave("interrupted; what was published stays", EXIT_INTERRUPTED)


def _leave(message: str, code: int) -> None:
    if message:
        rank = os.environ.get("RANK")
        who = f"process {rank}: " if rank not in (None, "0") else ""
        sys.stderr.write(f"respeval: {who}{' '.join(message.split())}\n")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        # The other processes may wait in a collective; leave without one, and the launcher ends them.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    raise typer.Exit(code)


def _console(is_root: bool = True) -> Console:
    from rich.console import Console

    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 100
    return Console(quiet=not is_root, width=width, soft_wrap=True, markup=False)


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


def _case(help_text: str, **options: Any) -> Any:
    return typer.Option(help=help_text, rich_help_panel=_CASE, **options)


def _compute(help_text: str, *names: str) -> Any:
    return typer.Option(*names, help=help_text, rich_help_panel=_COMPUTE)


def _show_version(asked: bool) -> None:
    if asked:
        from respeval import __version__

        _console().print(f"respeval {__version__}", highlight=False)
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
    checkpoint: Checkpoint,
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
    forcing: Annotated[str | None, _case("netCDF file, glob or zarr store.")] = None,
    initial_condition: Annotated[
        str | None, _case("File of initial conditions, (sample, lat, lon) with time(sample).")
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
    role: Annotated[
        list[str] | None, _case("ROLE=VARIABLE, for example upper_level=air_temperature_2.")
    ] = None,
    repeat: Annotated[
        str | None, _case("year: a forcing of one year is used again and again; or none.")
    ] = None,
    save_members: Annotated[
        bool | None, _case("Whether segments keep every member's mean too.")
    ] = None,
    reader: Annotated[list[str] | None, _case("OPTION=VALUE of the checkpoint's reader.")] = None,
    probe_data: Annotated[
        str | None, _case("Training data for the gradient probe; kept in the case only.")
    ] = None,
    device: Annotated[str | None, _compute("cpu or cuda; default: cuda where present.")] = None,
    threads: Annotated[
        int | None, _compute("Threads per process; default 1 under torchrun and on small grids.")
    ] = None,
    window: Annotated[int | None, _compute("Steps of forcing read at once.")] = None,
    samples_per_batch: Annotated[
        int | None, _compute("Samples stepped at once; default 1 on a CPU, all on a GPU.")
    ] = None,
) -> None:
    """Run the baseline and all perturbed climates in one rollout, and diagnose the response.

    The same command under `torchrun --nproc-per-node N -m respeval run …` uses N processes.
    """
    with _one_line_errors():
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
            "probe_data": probe_data,
            **_lists(perturb, bands, role, reader),
        }
        for name, count in (
            ("threads", threads),
            ("window", window),
            ("samples-per-batch", samples_per_batch),
        ):
            _at_least_one(name, count)
        compute = {"window_length": window, "samples_per_batch": samples_per_batch}
        _run(checkpoint, output, case, options, device, threads, compute)


def _lists(
    perturb: list[str] | None,
    bands: list[str] | None,
    role: list[str] | None,
    reader: list[str] | None,
) -> dict[str, Any]:
    """The options that are repeated on the command line and mappings in the case file."""
    from respeval.config import parse_band, parse_perturbation

    given: dict[str, Any] = {}
    if perturb:
        given["perturbations"] = _unique("--perturb", map(parse_perturbation, perturb))
    if bands:
        texts = [part for text in bands for part in text.split(",") if part]
        given["bands"] = _unique("--bands", map(parse_band, texts))
    if role:
        pairs = _unique("--role", (_pair("--role", text) for text in role))
        given["roles"] = {
            name: value.split(",") if name == "column_temperature" else value
            for name, value in pairs.items()
        }
    if reader:
        pairs = _unique("--reader", (_pair("--reader", text) for text in reader))
        given["reader"] = {name: _plain_value(name, value) for name, value in pairs.items()}
    return given


def _unique(option: str, pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    from respeval.errors import InputError

    given: dict[str, Any] = {}
    for name, value in pairs:
        if name in given:
            raise InputError(f"{option} gives {name!r} twice")
        given[name] = value
    return given


def _plain_value(name: str, text: str) -> Any:
    import yaml

    from respeval.errors import InputError

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise InputError(f"--reader {name}={text}: the value is no YAML") from None


def _pair(option: str, text: str) -> tuple[str, str]:
    from respeval.errors import InputError

    name, separator, value = text.partition("=")
    if not separator or not name or not value:
        raise InputError(f"{option} {text!r}: expected NAME=VALUE")
    return name, value


def _at_least_one(name: str, count: int | None) -> None:
    from respeval.errors import InputError

    if count is not None and count < 1:
        raise InputError(f"--{name} {count}: expected a whole number of at least 1")


def _run(
    checkpoint: Path,
    folder: Path,
    case_file: Path | None,
    options: dict[str, Any],
    device: str | None,
    threads: int | None,
    compute: dict[str, int | None],
) -> None:
    import torch

    from respeval.comm import connect
    from respeval.config import load_case
    from respeval.plan import prepare
    from respeval.runner import Execution, default_threads

    comm = connect(device)
    beside = checkpoint.parent / "case.yaml"
    path = case_file or (beside if beside.is_file() else None)
    usual_threads = torch.get_num_threads()
    threads = min(threads, os.cpu_count() or 1) if threads else None
    torch.set_num_threads(threads or 1)
    plan = comm.together(lambda: prepare(checkpoint, load_case(path, options)))
    torch.set_num_threads(threads or default_threads(plan.emulator.spec, comm) or usual_threads)
    run_plan(plan, checkpoint, folder, comm, Execution(**compute))
    if comm.is_root:
        _show_table(folder)
    comm.close()


def run_plan(
    plan: Any,
    checkpoint: Path,
    folder: Path,
    comm: Comm,
    execution: Any,
    reference: Any = None,
) -> None:
    """Execute a plan into a folder with progress, and analyse it on the root.

    reference: diagnostics that the figures show beside the run's, as (name, Dataset).
    """
    from respeval.console import ConsoleReporter, SilentReporter
    from respeval.diagnostics import left_out
    from respeval.results import RunningRatio, analyse, settings_of
    from respeval.runner import execute, open_output

    console = _console(comm.is_root)
    output = open_output(plan, checkpoint, folder, comm)
    if any(comm.gather(comm.together(output.is_finished))):
        console.print(f"{folder} holds this run already, finished: nothing to do")
        return
    spec = plan.emulator.spec
    settings = settings_of(plan.case, plan.roles, spec.levels_hPa)
    names = [variable.name for variable in spec.outputs]
    running = RunningRatio(
        settings, names, plan.case.groups, spec.grid.latitude, plan.layout.circle_areas()
    )
    reporter = (
        ConsoleReporter(console, running, comm.num_processes) if comm.is_root else SilentReporter()
    )
    for left, reason in left_out(names, settings).items():
        console.print(f"left out: {left}, because {reason}", highlight=False)
    try:
        execute(plan, output, comm, execution, reporter)
    finally:
        reporter.close()
    if comm.is_root:
        output.join()
        name, known = reference or ("reference", None)
        analyse(folder, settings, known, name)
        output.finish()


def _show_table(folder: Path) -> None:
    from respeval.console import perturbation_columns, warming_table
    from respeval.output import DIAGNOSTICS_FILE, open_saved

    with open_saved(folder / DIAGNOSTICS_FILE) as diagnostics:
        _console().print(warming_table(perturbation_columns(diagnostics), f"Response, {folder}"))


@app.command()
def diagnose(
    folder: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    bands: Bands = None,
    tropical_lat_max: TropicalLatMax = None,
) -> None:
    """Recompute diagnostics, summary and figures from the saved means; needs no model."""
    with _one_line_errors():
        from respeval.results import analyse, settings_of_folder

        options = {"tropical_lat_max": tropical_lat_max, **_lists(None, bands, None, None)}
        analyse(folder, settings_of_folder(folder, options))
        _show_table(folder)


@app.command()
def inspect(checkpoint: Checkpoint) -> None:
    """Show what is in a checkpoint and what data a run of it needs."""
    with _one_line_errors():
        from respeval.checkpoints import open_checkpoint
        from respeval.console import inspection_tables

        emulator = open_checkpoint(checkpoint, {})
        console = _console()
        for part in inspection_tables(checkpoint, emulator):
            console.print(part, highlight=False)


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
    with _one_line_errors():
        _at_least_one("years", years)
        _at_least_one("samples", samples)
        _demo(folder, years, samples)


def _demo(folder: Path, num_years: int, num_samples: int) -> None:
    import torch

    from respeval.comm import connect
    from respeval.config import load_case
    from respeval.console import perturbation_columns, truth_table
    from respeval.diagnostics import diagnose_reference
    from respeval.output import DIAGNOSTICS_FILE, open_saved
    from respeval.plan import prepare
    from respeval.planet import SHIPPED_CHECKPOINTS
    from respeval.planet.study import write_study
    from respeval.results import settings_of
    from respeval.runner import Execution

    console, comm = _console(), connect("cpu")
    torch.set_num_threads(1)
    truth = write_study(folder, num_years, num_samples, console.print)
    columns, known = {}, None
    for name in SHIPPED_CHECKPOINTS:
        checkpoint, out = folder / f"{name}.pt", folder / "runs" / name
        console.print(f"\nrespeval run {checkpoint} -o {out}", style="bold")
        plan = prepare(checkpoint, load_case(folder / "case.yaml", {}))
        if known is None:
            settings = settings_of(plan.case, plan.roles, plan.emulator.spec.levels_hPa)
            known = diagnose_reference(truth, settings)
        run_plan(plan, checkpoint, out, comm, Execution(), ("truth", known))
        with open_saved(out / DIAGNOSTICS_FILE) as diagnostics:
            columns[name] = perturbation_columns(diagnostics.load())
    assert known is not None
    for label, true_column in perturbation_columns(known).items():
        console.print()
        console.print(
            truth_table(true_column, {name: c[label] for name, c in columns.items()}, label)
        )
    console.print(f"files: {folder}, figures: {folder}/runs/*/figures", highlight=False)


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
            help="Consecutive states, netCDF or zarr; default: probe_data of the case file."
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
            "several, the first is what the others are compared with. Default: none and per_sample."
        ),
    ] = None,
    filters: Annotated[
        str | None, _probe("Glob over names of spectral filters; default all.", "--filter")
    ] = None,
    batches: Annotated[int, _probe("Number of batches.")] = 16,
    batch_size: Annotated[int, _probe("Pairs of states in a batch.")] = 8,
    ensemble: Annotated[
        int | None, _probe("Members; default 2, and 1 for a deterministic checkpoint.")
    ] = None,
    input_noise: Annotated[
        float, _probe("Standard deviation of noise on the state, in units of its normalization.")
    ] = 0.0,
    seed: Annotated[int, _probe("Seed of the drawn pairs and of the noise.")] = 0,
    crps_weight: Annotated[float, _loss("Weight of the CRPS.")] = 0.9,
    energy_score_weight: Annotated[float, _loss("Weight of the spectral term.")] = 0.1,
    finite_difference_weight: Annotated[
        float, _loss("Weight of the CRPS of finite differences.")
    ] = 0.0,
    finite_difference_levels: Annotated[
        int, _loss("Levels of the finite differences; each is twice as coarse.")
    ] = 1,
    alpha: Annotated[float, _loss("Of the almost-fair CRPS; 1 is fair.")] = 0.95,
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
) -> None:
    """Measure how much gradient each spherical-harmonic degree's filter weights get.

    Arms are variants of the loss, compared on the same batches and the same forward pass. The same
    command under `torchrun --nproc-per-node N -m respeval gradient-probe …` uses N processes.
    """
    with _one_line_errors():
        for name, count in (("batches", batches), ("batch-size", batch_size), ("threads", threads)):
            _at_least_one(name, count)
        weights = (crps_weight, energy_score_weight, finite_difference_weight)
        settings = {
            "num_batches": batches,
            "batch_size": batch_size,
            "num_members": ensemble,
            "input_noise": input_noise,
            "filters": filters,
            "seed": seed,
            "recompute": checkpoint_activations,
        }
        loss = (*weights, alpha, finite_difference_levels)
        _gradient_probe(checkpoint, output, (data, case), arm, settings, loss, (device, threads))


def _gradient_probe(
    checkpoint: Path,
    folder: Path,
    sources: tuple[str | None, Path | None],
    arms: list[str] | None,
    options: dict[str, Any],
    loss: tuple[Any, ...],
    compute: tuple[str | None, int | None],
) -> None:
    import torch

    from respeval.comm import connect
    from respeval.console import ConsoleProbeReporter, SilentProbeReporter
    from respeval.probe_plan import parse_settings, prepare_probe
    from respeval.probe_runner import check_folder, run_probe
    from respeval.runner import default_threads

    device, threads = compute
    comm = connect(device)
    usual_threads = torch.get_num_threads()
    threads = min(threads, os.cpu_count() or 1) if threads else None
    torch.set_num_threads(threads or 1)
    settings = comm.together(lambda: parse_settings(arms, loss, options))
    plan = comm.together(lambda: prepare_probe(checkpoint, settings, *sources))
    comm.together(lambda: check_folder(folder) if comm.is_root else None)
    torch.set_num_threads(threads or default_threads(plan.emulator.spec, comm) or usual_threads)
    reporter = (
        ConsoleProbeReporter(_console(), comm.num_processes)
        if comm.is_root
        else SilentProbeReporter()
    )
    try:
        sums = run_probe(plan, comm, reporter)
    finally:
        reporter.close()
    if comm.is_root:
        _show_probe(plan, sums, folder)
    comm.close()


def _show_probe(plan: Any, sums: Any, folder: Path) -> None:
    from respeval.console import probe_table
    from respeval.probe_runner import write_probe

    written = write_probe(plan, sums, folder)
    console = _console()
    title = f"Gradient by degree, {plan.checkpoint}"
    console.print(probe_table(written.summary, written.profile, title))
    console.print(
        "low, high: the lowest and highest eighth of the degrees without degree 0",
        highlight=False,
    )
    console.print(f"files: {folder}, figure: {written.figure}", highlight=False)
