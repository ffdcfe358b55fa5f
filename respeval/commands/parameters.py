"""Parameters of the commands: what typer shows of them, those of the tables included."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from respeval.case.options import COMPUTE, Option
from respeval.commands.exits import told_as_asked

Command = TypeVar("Command", bound=Callable[..., None])


def takes(*options: Option) -> Callable[[Command], Command]:
    """Give a command the parameters of these options, where its signature has `*`.

    The command gets their values as `**given`, for `read_options`.
    """

    def decorate(command: Command) -> Command:
        own = inspect.signature(command, eval_str=True).parameters.values()
        before = [p for p in own if p.kind is p.POSITIONAL_OR_KEYWORD]
        after = [p for p in own if p.kind is p.KEYWORD_ONLY]
        parameters = [p.replace(kind=p.KEYWORD_ONLY) for p in before]
        parameters += [*map(_parameter, options), *after]
        described: Any = command
        described.__signature__ = inspect.Signature(parameters)
        described.__annotations__ = {p.name: p.annotation for p in parameters}
        return command

    return decorate


def says(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of what is said and where, and let it be said so.

    It stands above `takes`, and below what makes a command of the function.
    """
    own = inspect.signature(command, eval_str=True).parameters.values()
    parameters = [p.replace(kind=p.KEYWORD_ONLY) for p in own]
    for name, annotation in _SAID.items():
        default = None if name == "log_file" else False
        parameters.append(
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
            )
        )

    @functools.wraps(command)
    def saying(
        *, quiet: bool, verbose: bool, log_file: Path | None, as_json: bool, **given: Any
    ) -> None:
        with told_as_asked(quiet, verbose, as_json, log_file):
            command(**given)

    described: Any = saying
    described.__signature__ = inspect.Signature(parameters)
    described.__annotations__ = {p.name: p.annotation for p in parameters}
    return saying


def _parameter(option: Option) -> inspect.Parameter:
    told = typer.Option(
        *option.flags,
        help=option.help,
        metavar=option.value_name,
        rich_help_panel=option.panel,
    )
    return inspect.Parameter(
        option.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=option.default,
        annotation=Annotated[option.type, told],
    )


def _compute(help_text: str, *names: str, metavar: str | None = None) -> Any:
    return typer.Option(*names, help=help_text, metavar=metavar, rich_help_panel=COMPUTE)


def _folder(help_text: str, *names: str) -> Any:
    return typer.Option(*names, help=help_text, rich_help_panel="The folder holds a run already")


def _said(help_text: str, *names: str, metavar: str | None = None) -> Any:
    return typer.Option(*names, help=help_text, metavar=metavar, rich_help_panel="What is said")


#: Parameters that every command has.
_SAID: dict[str, Any] = {
    "quiet": Annotated[
        bool,
        _said("No plan, notes and progress on stderr; warnings and results stay.", "-q", "--quiet"),
    ],
    "verbose": Annotated[
        bool,
        _said(
            "More on stderr: what computes and how fast, and the traceback of an error.",
            "-v",
            "--verbose",
        ),
    ],
    "log_file": Annotated[
        Path | None,
        _said(
            "Append all that is said, and what -v adds, with the time before each line.",
            metavar="FILE",
        ),
    ],
    "as_json": Annotated[bool, _said("Results as JSON on stdout; tables go to stderr.", "--json")],
}

Output = Annotated[
    Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for the results.")
]
Checkpoint = Annotated[
    Path, typer.Argument(metavar="CHECKPOINT", help="Checkpoint file, for example checkpoint.pt.")
]
Checkpoints = Annotated[
    list[Path],
    typer.Argument(
        metavar="CHECKPOINT",
        help="Checkpoint files; several: a folder for each, in the one of -o.",
    ),
]
CaseFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Case file (YAML); default: case.yaml beside the checkpoint."
    ),
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust-checkpoint",
        help="Let the reader run code that the file holds; without it none runs.",
    ),
]
Extend = Annotated[
    bool,
    _folder("Lengthen the run in the folder to this --years, --days or --steps.", "--extend"),
]
RestartFresh = Annotated[
    bool, _folder("Start over in a new folder beside it (DIR-2, DIR-3, …).", "--restart-fresh")
]
DryProbe = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Show what the probe would take, memory and time; nothing is written.",
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Show what would run, with memory, time and disk space; nothing is written.",
    ),
]
Device = Annotated[
    str | None, _compute("cpu or cuda; default: cuda where present.", metavar="cpu|cuda")
]
Threads = Annotated[
    int | None,
    _compute("Threads per process; default 1 under torchrun and on small grids.", metavar="N"),
]
Window = Annotated[int | None, _compute("Steps of forcing read at once.", metavar="N")]
SamplesPerBatch = Annotated[
    str | None,
    _compute(
        "Samples stepped at once; default 1 on a CPU, all on a GPU. auto: the fastest of a few sizes that "
        "are tried before the run.",
        metavar="N|auto",
    ),
]
Spatial = Annotated[
    str | None,
    _compute(
        "Split the fields of every member over HxW processes, H in latitude and W in longitude, for a "
        "model that does not fit one GPU; members are dealt to groups of so many processes. auto: split "
        "where a member does not fit, or processes are left over.",
        metavar="HxW|auto",
    ),
]
ProbeSpatial = Annotated[
    str | None,
    typer.Option(
        "--spatial",
        metavar="HxW",
        help="Split fields over HxW processes, H in latitude and W in longitude, for a network that "
        "does not fit one GPU; batches are dealt to groups of so many processes.",
    ),
]
FailFast = Annotated[
    bool,
    _compute(
        "End at the first sample that blows up, instead of leaving it out of the means.",
        "--fail-fast",
    ),
]
Compile = Annotated[
    bool,
    _compute(
        "Let torch.compile make the network faster, where it does; what it takes and wins is measured and "
        "told.",
        "--compile",
    ),
]
FastTransforms = Annotated[
    bool,
    _compute(
        "Compute the network's spectral convolutions (native, ACE) in a faster form, on CPUs; what it wins "
        "and does to the response of the first day is measured and told.",
        "--fast-transforms",
    ),
]
FinishedRun = Annotated[
    Path | None, typer.Argument(metavar="DIR", help="Folder of a finished run.")
]
Listed = Annotated[
    bool, typer.Option("--list", help="Say what every diagnostic is; needs no folder.")
]
Everything = Annotated[
    bool, typer.Option("--all", help="Show every diagnostic, and why others are left out.")
]
NoLiterature = Annotated[
    bool,
    typer.Option(
        "--no-literature",
        help="Leave out what is published of models, which is there as background.",
    ),
]
Compared = Annotated[
    list[Path],
    typer.Argument(
        metavar="DIR", help="Folders of finished runs, of sweeps (all their runs), or quoted globs."
    ),
]
Comparison = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        metavar="DIR",
        help="Folder for comparison.csv, comparison.nc and figures/; without it nothing is written.",
    ),
]
Diagnostics = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Diagnostics that tables and figures show (see respeval diagnose --list; NAME_mean for the "
        "output NAME); several: repeat, or separate by commas. Default: the ratios in the tables, all named "
        "diagnostics in figures. The files have them all.",
    ),
]
Maps = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="NAME",
        help="Outputs whose response is drawn as maps of all runs and of the reference on one scale, "
        "figures/map_NAME_LABEL; several: repeat, or separate by commas. Default: near-surface temperature.",
    ),
]
Shown = Annotated[
    list[str] | None,
    typer.Option(
        metavar="LABEL", help="Perturbation that tables and figures show; repeat for several."
    ),
]
Workers = Annotated[
    int | None,
    _compute("Processes that read runs; default: by the number of runs and cores.", metavar="N"),
]
Reported = Annotated[
    list[Path],
    typer.Argument(
        metavar="DIR",
        help="Folders of finished runs, of sweeps (all their runs), of gradient probes and of comparisons.",
    ),
]
Page = Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="The page to write.")]
SchemaFile = Annotated[
    Path | None,
    typer.Option("-o", "--output", metavar="FILE", help="Write it there and print nothing."),
]
Data = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Consecutive states: netCDF file, glob, folder of netCDF files, or zarr store; default: "
        "probe_data of the case file.",
    ),
]
