"""One run of all climates against one fme inference per climate."""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.frame import Benchmark, Goal, Options, Outcome, Table, alternate, spread
from benchmarks.overhead import OPERATORS
from benchmarks.processes import Usage, environment, timed, watched
from benchmarks.studies import Size
from tests.support.ace.files import AceFiles, fme_inference_command
from tests.support.ace.make_fixtures import FME_ENVIRONMENT

WARM_POOL = {"lat_center": 0.0, "lon_center": 150.0, "lat_width": 40.0, "lon_width": 100.0}

#: Climates beside the baseline: label -> as fme writes it, and as respeval does.
CLIMATES: dict[str, tuple[dict[str, Any], str]] = {
    "p4K": ({"type": "constant", "config": {"amplitude": 4.0}}, "uniform:4"),
    "p2K": ({"type": "constant", "config": {"amplitude": 2.0}}, "uniform:2"),
    "warmpool": (
        {"type": "greens_function", "config": {"amplitude": 2.0, **WARM_POOL}},
        "patch:2," + ",".join(f"{name}={value:g}" for name, value in WARM_POOL.items()),
    ),
}


@dataclass(frozen=True)
class Comparison:
    """Climates and initial conditions of a comparison, and how often it is measured.

    goal: the most that a run may take of what the separate inferences take, None where none is set.
    """

    num_climates: int
    size: Size
    rounds: int
    goal: float | None

    @property
    def labels(self) -> Sequence[str]:
        return list(CLIMATES)[: self.num_climates - 1]

    def __str__(self) -> str:
        count = self.size.num_samples
        starts = "one start" if count == 1 else f"{count} starts"
        return f"{self.num_climates} climates, {starts}, {self.size.num_steps} steps"


def size(options: Options, num_steps: int, num_samples: int = 1) -> Size:
    shape, embed_dim, num_layers = ((16, 32), 8, 1) if options.quick else ((45, 90), 64, 4)
    return Size(shape, embed_dim, num_layers, num_steps, "month", num_samples)


def comparisons(options: Options) -> list[Comparison]:
    if options.quick:
        return [Comparison(4, size(options, 8, 2), 1, None)]
    chosen = [
        Comparison(2, size(options, 200), options.rounds, 0.60),
        Comparison(4, size(options, 200), 1, None),
        Comparison(2, size(options, 200, 4), 1, 0.60),
    ]
    if options.long:
        chosen.append(Comparison(4, size(options, 200, 4), 1, None))
    return chosen


def inference(
    label: str,
    study: Path,
    folder: Path,
    asked: Comparison,
    python: Path,
    variables: Mapping[str, str] | None = None,
) -> Usage:
    """One climate's, which writes its monthly means.

    variables: of the environment; default: those that keep fme on the CPU.
    """
    command = fme_inference_command(
        *(AceFiles(study), study / "ckpt.tar", folder / label, asked.size.num_steps),
        samples=range(asked.size.num_samples),
        sst_perturbations=[] if label == "baseline" else [CLIMATES[label][0]],
        data_writer={"save_prediction_files": False, "save_monthly_files": True},
    )
    return timed([str(python), *command[1:]], variables or environment(FME_ENVIRONMENT))


def apart(study: Path, folder: Path, asked: Comparison, python: Path) -> Usage:
    """One inference after the other."""
    total = Usage(0.0, 0.0)
    for label in ("baseline", *asked.labels):
        used = inference(label, study, folder, asked, python)
        total = Usage(total.seconds + used.seconds, total.processor_s + used.processor_s)
    return total


def together(
    study: Path,
    folder: Path,
    asked: Comparison,
    python: Path,
    variables: Mapping[str, str] | None = None,
) -> Usage:
    """One run of all climates, with its diagnostics and figures; `variables` as in `inference`."""
    options = [
        f"--forcing={study / 'forcing'}",
        f"--initial-condition={AceFiles(study).initial_conditions}",
        *(f"--start-date={date}" for date in asked.size.start_dates()),
        f"--steps={asked.size.num_steps}",
        f"--output={folder}",
        *(f"--perturb={label}={CLIMATES[label][1]}" for label in asked.labels),
    ]
    command = [str(python), "-m", "respeval", "run", str(study / "ckpt.tar"), *options]
    return timed(command, variables or environment(FME_ENVIRONMENT))


def measure(asked: Comparison, python: Path) -> list[tuple[Usage, Usage]]:
    with tempfile.TemporaryDirectory() as name:
        study, numbers = Path(name) / "study", iter(range(2 * asked.rounds))
        written = [str(study), json.dumps(asdict(asked.size))]
        timed([str(python), "-m", "benchmarks.ace_study", *written], environment(FME_ENVIRONMENT))

        def folder() -> Path:
            return Path(name) / f"out{next(numbers)}"

        return alternate(
            asked.rounds,
            lambda: together(study, folder(), asked, python),
            lambda: apart(study, folder(), asked, python),
        )


def run(options: Options) -> Outcome:
    found = compare(comparisons(options), options.ace_python)
    steps, operators, numbers = profile(options)
    return replace(
        found, tables=[*found.tables, steps, operators], numbers={**found.numbers, "steps": numbers}
    )


def profile(options: Options) -> tuple[Table, Table, dict[str, Any]]:
    """Where the time of respeval's steps goes, by batch size and by torch's operators."""
    asked = size(options, 7, 4)
    with tempfile.TemporaryDirectory() as name:
        study = Path(name) / "study"
        arguments = [str(study), json.dumps(asdict(asked))]
        python = str(options.ace_python)
        timed([python, "-m", "benchmarks.ace_study", *arguments], environment(FME_ENVIRONMENT))
        _, found = watched("ace_profile", *arguments, python=(python,))
    rows, member_steps = [], 2 * asked.num_samples * (asked.num_steps - 1)
    for batch, runs in found["seconds"].items():
        whole = [sum(run.values()) for run in runs]
        each = [1e3 * seconds / member_steps for seconds in whole]
        shares = {
            part: [100 * run[part] / total for run, total in zip(runs, whole, strict=True)]
            for part in runs[0]
        }
        rows.append((batch, spread(each, ".1f"), *(spread(s, ".1f") for s in shares.values())))
    header = ("samples at once", "ms per member", *(f"{part}, %" for part in shares))
    steps = Table("Steps of respeval: 2 climates, 4 starts", header, rows)
    return steps, Table("Operators of these steps", OPERATORS, found["operators"]), found["seconds"]


def compare(comparisons: Sequence[Comparison], python: Path) -> Outcome:
    """The table of these comparisons, by an interpreter of an environment with fme."""
    rows, goals, numbers = [], [], {}
    for asked in comparisons:
        pairs = measure(asked, python)
        ratios = [ours.seconds / theirs.seconds for ours, theirs in pairs]
        processor = [ours.processor_s / theirs.processor_s for ours, theirs in pairs]
        columns = (
            spread([theirs.seconds for _, theirs in pairs], ".1f"),
            spread([ours.seconds for ours, _ in pairs], ".1f"),
            spread(ratios),
            spread(processor),
        )
        rows.append((str(asked), *columns))
        numbers[str(asked)] = [[asdict(usage) for usage in pair] for pair in pairs]
        if asked.goal is not None:
            goals.append(Goal(f"{asked}: ratio", statistics.median(ratios), asked.goal))
    size = comparisons[0].size
    header = ("what", "fme, s", "respeval, s", "ratio", "processor time")
    title = f"{size.shape[0]} x {size.shape[1]}, embed {size.embed_dim}, {size.num_layers} layers"
    return Outcome([Table(title, header, rows)], goals, (), numbers)


BENCHMARK = Benchmark(
    "Today's way: one inference per climate",
    "Whole processes, from start to last file: `python -m fme.ace.inference` once for each climate, one "
    "after the other, against one `respeval run` of all of them, on the same untrained ACE checkpoint "
    "with ACE2's variables. Both write monthly means; respeval adds diagnostics and figures. "
    "`BENCH_ARGS=--long` adds four climates of four starts. Needs `make ace-venv`.",
    run,
    needs_ace=True,
)
