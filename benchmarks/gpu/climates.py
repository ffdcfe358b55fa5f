"""One run of all climates against one inference of fme for each of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks.frame import Goal, Outcome, Table
from benchmarks.gpu.part import LeftOutError, Part
from benchmarks.gpu.setting import Setting, interpreter_with_fme
from benchmarks.processes import environment, timed
from benchmarks.studies import Size
from benchmarks.todays_way import Comparison, inference, together
from tests.support.ace.make_fixtures import FME_ENVIRONMENT

NUM_STEPS = 400

#: The most that a run may take of what the separate inferences take.
GOALS = {2: 0.55, 4: 0.35}


def size(setting: Setting, num_samples: int) -> Size:
    if setting.quick:
        return Size((16, 32), 8, 1, 8, "month", num_samples)
    return Size((45, 90), 64, 4, NUM_STEPS, "month", num_samples)


def variables(setting: Setting) -> dict[str, str]:
    """Of every process: what lets fme have the device."""
    on_cpu = setting.device.type == "cpu"
    kept = {name: value for name, value in FME_ENVIRONMENT.items() if name != "FME_FORCE_CPU"}
    return environment(FME_ENVIRONMENT if on_cpu else {**kept, "FME_FORCE_CPU": "0"})


def run(setting: Setting) -> Iterator[Outcome]:
    python = interpreter_with_fme()
    if python is None:
        raise LeftOutError("fme is not installed: make gpu ENV=… with an environment that has it")
    rows, goals, numbers, given = [], list[Goal](), dict[str, Any](), variables(setting)
    study = setting.folder / "ace"
    written = json.dumps(asdict(size(setting, 4)))
    timed([python, "-m", "benchmarks.ace_study", str(study), written], given)
    timed([python, "-c", "import fme.ace.inference.inference"], given)  # into the file cache
    alone: dict[tuple[str, int], float] = {}  # of two climates, then of two more
    for num_climates, num_samples in ((2, 1), (4, 1), (2, 4)):
        asked = Comparison(num_climates, size(setting, num_samples), 1, GOALS[num_climates])
        folder = setting.folder / f"ace_{num_climates}_{num_samples}"
        ours = together(study, folder / "ours", asked, Path(python), given).seconds
        jobs = [(label, num_samples) for label in ("baseline", *asked.labels)]
        for job in jobs:
            if job not in alone:
                used = inference(job[0], study, folder, asked, Path(python), given)
                alone[job] = used.seconds
        theirs = sum(alone[job] for job in jobs)
        ratio = ours / theirs
        rows.append((str(asked), f"{theirs:.1f}", f"{ours:.1f}", f"{ratio:.2f}"))
        numbers[str(asked)] = {"respeval_s": ours, "fme_s": [alone[job] for job in jobs]}
        if num_samples == 1:
            goals.append(Goal(f"{asked}: ratio", ratio, GOALS[num_climates]))
        title = str(replace(asked.size, num_samples=1))
        table = Table(title, ("what", "fme, s", "respeval, s", "ratio"), rows)
        yield Outcome([table], list(goals), (), numbers)


PART = Part(
    "Today's way: one inference per climate",
    "Whole processes, from start to last file: `python -m fme.ace.inference` once for each climate, one "
    "after the other, against one `respeval run` of all of them with its diagnostics and figures, both on "
    "the device, on the same untrained ACE checkpoint. Each of them once.",
    200.0,
    run,
)
