"""What `respeval demo` does: both shipped emulators of the planet, beside its truth."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from respeval.analysis.comparison import Wishes, compare_runs
from respeval.analysis.finished_runs import find_runs
from respeval.analysis.folder import TRUTH
from respeval.api.compared_files import write_compared
from respeval.api.one_run import Wish, plan_of, run_plan
from respeval.api.session import open_session
from respeval.case.roles import settings_of
from respeval.commands.report import write_report
from respeval.diagnostics import diagnose_reference
from respeval.files.netcdf import open_saved, write_netcdf
from respeval.planet import SHIPPED_CHECKPOINTS
from respeval.planet.study import write_study
from respeval.presentation.console.json_output import answer
from respeval.presentation.console.streams import say_line
from respeval.presentation.console.terminal import make_console
from respeval.presentation.console.truth import truth_table
from respeval.presentation.console.warming import perturbation_columns
from respeval.run_folder.names import DIAGNOSTICS_FILE

REPORT, COMPARED = "report.html", "comparison"


def run_demo(folder: Path, num_years: int, num_samples: int) -> None:
    """`respeval demo`: runs, tables of how far they are from the truth, their comparison, the report."""
    wish = Wish(folder / "case.yaml", device="cpu", threads=1)
    session = open_session(wish.device, wish.threads)
    console, results = session.console, make_console()
    truth = write_study(folder, num_years, num_samples, console.print)
    columns: dict[str, dict[str, xr.Dataset]] = {}
    known = xr.Dataset()
    for name in SHIPPED_CHECKPOINTS:
        checkpoint, out = folder / f"{name}.pt", folder / "runs" / name
        console.print(f"\nrespeval run {checkpoint} -o {out}", style="bold")
        plan = plan_of(checkpoint, wish, session)
        settings = settings_of(plan.case, plan.roles, plan.emulator.spec.levels_hPa)
        known = diagnose_reference(truth, settings)
        with session.signals:
            outcome = run_plan(plan, checkpoint, out, wish, session, ("truth", known))
        outcome.raise_failed(out)
        # For what is made of the run later: respeval diagnose and report.
        write_netcdf(truth, out / TRUTH)
        with open_saved(out / DIAGNOSTICS_FILE) as diagnostics:
            columns[name] = perturbation_columns(diagnostics.load())
    for label, true_column in perturbation_columns(known).items():
        found = {name: by_label[label] for name, by_label in columns.items()}
        results.print()
        results.print(truth_table(true_column, found, label))
    runs = [folder / "runs" / name for name in SHIPPED_CHECKPOINTS]
    compared = folder / COMPARED
    console.print(f"\nrespeval compare {runs[0]} {runs[1]} -o {compared}", style="bold")
    wishes, (found_runs, _) = Wishes(), find_runs(runs)
    write_compared(compare_runs(found_runs, wishes), found_runs, compared, wishes, (), say_line)
    results.print(
        f"\nfiles: {folder}, figures: {folder}/runs/*/figures and {compared}/figures",
        highlight=False,
    )
    write_report(runs, folder / REPORT, results, title="The demo's emulators beside the truth")
    answer(
        lambda: {
            "folder": folder,
            "report": folder / REPORT,
            "runs": runs,
            "comparison": compared,
        }
    )
