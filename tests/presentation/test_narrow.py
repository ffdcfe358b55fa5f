"""Tables and progress on a terminal of 80 columns: nothing is cut, no word or number is broken."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest
import xarray as xr
from rich.console import Console
from rich.table import Table

from respeval.diagnostics import AGREEMENT, STATISTICS, YEARS, catalog
from respeval.diagnostics.agreement import REGIONS
from respeval.plan.estimate import Disk, Estimate
from respeval.presentation.console.catalog import catalog_text
from respeval.presentation.console.parts import in_parts
from respeval.presentation.console.precision import precision_tables
from respeval.presentation.console.progress import RunBar
from respeval.presentation.console.reference import agreement_tables
from respeval.presentation.console.rehearsal import response_error_table
from respeval.presentation.console.sweep import estimate_tables, sweep_tables
from respeval.presentation.console.terminal import CommandConsole
from respeval.run_folder.sweep import Entry, Status
from tests.support.invoking import invoke

WIDTHS = pytest.mark.parametrize("width", [80, 120])


def shown(parts: Any, width: int) -> str:
    """Tables as a terminal of this width shows them; none may be wider, and nothing is cut."""
    text = io.StringIO()
    console = Console(file=text, width=width)
    for part in parts:
        console.print(part, crop=False)
    found = text.getvalue()
    assert max(map(len, found.splitlines())) <= width
    assert "…" not in found
    return found


def words(text: str) -> list[str]:
    return re.split(r"[\s│┃]+", text)


@WIDTHS
def test_a_sweep_has_all_numbers_whole(width: int) -> None:
    names = [f"epoch_{number:04d}.pt" for number in range(3)]
    entries = [
        Entry(Path("ckpts") / name, Path("out") / name[:-3], Status.ALREADY_FINISHED)
        for name in names
    ]
    headings = [
        f"{label} {what}"
        for label in ("p2K", "warmpool", "coldtongue")
        for what in ("land/ocean midlatitudes", "vertical")
    ]
    numbers = [
        {heading: (-1.5 - row - 0.01 * i, 0.00123) for i, heading in enumerate(headings)}
        for row in range(3)
    ]
    tables = sweep_tables(Path("out"), entries, numbers, width)
    found = shown(tables, width)
    for row, name in enumerate(names):
        lines = [line for line in found.splitlines() if f" {name} " in line]
        assert len(lines) == len(tables)
        assert "already finished" in lines[0]
        cells = re.findall(r"-\d\.\d+ ± 0\.0012", "".join(lines))
        assert cells == [f"{-1.5 - row - 0.01 * i:.4f} ± 0.0012" for i in range(6)]
    assert found.count("midlatitudes") == 3
    assert len(tables) == {80: 3, 120: 2}[width]


@WIDTHS
def test_a_dry_run_has_all_columns_whole(width: int) -> None:
    estimate = Estimate(
        Path("ckpts/epoch_0012.ckpt"),
        Path("out/epoch_0012"),
        num_parameters=447_000_000,
        file_bytes=2**31,
        num_groups=3,
        num_samples=16,
        done_step=12_345,
        num_steps=146_000,
        seconds_per_step=2.0,
        memory=2**35,
        disk=Disk(2**36, 2**33, 2**34),
    )
    torn = Estimate(Path("ckpts/torn.ckpt"), Path("out/torn"), "torn")
    found = shown(estimate_tables(Path("out"), [estimate, torn], width), width)
    cells = ("at step 12345", "447 M", "2 GiB", "3 x 16", "146000", "32 GiB", "74:15:10", "88 GiB")
    for cell in (*cells, "can't run", "weights", "memory", "steps", "samples"):
        assert f" {cell} " in found, cell


def agreement() -> xr.Dataset:
    values = {f"air_temperature_7_{statistic}": -0.123456 for statistic in AGREEMENT}
    values |= {"air_temperature_7_bias_stderr": 0.00123}
    shape = (1, len(REGIONS))
    made = {n: (("perturbation", "region"), [[v] * shape[1]]) for n, v in values.items()}
    found = xr.Dataset(made, {"perturbation": ["p4K"], "region": list(REGIONS)})
    found["air_temperature_7_bias"].attrs["units"] = "K"
    return found.assign_attrs(reference="truth.nc", compared_on="its grid")


@WIDTHS
def test_a_reference_has_all_numbers_whole(width: int) -> None:
    found = shown(agreement_tables(agreement(), None, width), width)
    assert found.count("-0.123 [-0.123]") == 3 * len(REGIONS)
    assert found.count("-0.1235 ± 0.0012") == len(REGIONS)
    for heading in ("bias", "RMSE", "centred RMSE", "correlation", "air_temperature_7, K"):
        assert heading in found


@WIDTHS
def test_years_until_known_stand_beside_whole_names(width: int) -> None:
    labels = ["p2K", "p4K", "warmpool", "coldtongue", "future"]
    name = "vertical_warming_ratio_tropical_ocean"
    of_all = (("perturbation", "time"), [[1.5]] * len(labels))
    ends = {"_low": 1.4, "_high": 1.6, f"_{YEARS}": 12.0}
    running = xr.Dataset(
        {name: of_all}
        | {f"{name}{end}": (of_all[0], [[v]] * len(labels)) for end, v in ends.items()},
        {"perturbation": labels, "time": [0]},
    )
    found = shown(precision_tables(running, width), width)
    assert found.count("12 more (6.7 %)") == len(labels)
    assert set(labels) <= set(words(found))
    assert found.count("tropical ocean") == {80: 3, 120: 2}[width]


def test_what_a_run_measures_first_is_whole() -> None:
    error = {
        "largest": 0.029,
        "output": "specific_total_water_7",
        "near_surface_K": -0.0128,
        "near_surface_float32_K": -0.0131,
    }
    measured = {"precision": "bfloat16", "num_samples": 3, "num_steps": 4}
    table = response_error_table({**measured, "response": {"coldtongue": error}})
    found = shown([table], 80)
    for text in ("specific_total_water_7", "coldtongue", "-0.0128", "-0.0131", "2.9 %", "bfloat16"):
        assert text in found


def test_the_list_of_diagnostics_fits() -> None:
    lines = catalog_text(catalog(), STATISTICS, 80).splitlines()
    assert max(map(len, lines)) <= 80
    wide = catalog_text(catalog(), STATISTICS, 400)
    assert max(map(len, wide.splitlines())) <= 100
    assert wide.split() == catalog_text(catalog(), STATISTICS, 80).split()


@WIDTHS
def test_a_checkpoint_fits(study: Path, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    found = invoke("inspect", study)
    assert max(map(len, found.splitlines())) <= width
    for name in ("air_temperature_0", "network.blocks.1.global_conv.weight", "ocean_fraction"):
        assert name in words(found)


def test_a_column_that_is_too_wide_has_a_table_of_its_own() -> None:
    def table_of(part: Any, further: bool) -> Table:
        table = Table(title="further" if further else "first")
        for column in part:
            table.add_column(column)
        return table

    tables = in_parts(["a" * 10, "b" * 100, "c", "d"], table_of, 40)
    headings = [[str(column.header)[0] for column in table.columns] for table in tables]
    assert headings == [["a"], ["b"], ["c", "d"]]
    assert [table.title for table in tables] == ["first", "further", "further"]


def terminal(text: io.StringIO, width: int) -> CommandConsole:
    console = CommandConsole(is_root=True, stderr=True, are_notes=True, plain_width=100, log=None)
    console.file, console.width = text, width
    return console


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_bar_survives_the_first_segment(width: int) -> None:
    text = io.StringIO()
    bar = RunBar(terminal(text, width), 1200)
    ratios = ", ".join(f"perturbation{i} 1.4{i}" for i in range(8))
    told = ["segment 39 of 40", "2004-03-12  318.4 steps/s  0:12:34 left", f"land/ocean: {ratios}"]
    bar.move(1200, told)
    bar.console.print(bar.get_renderable())
    first, second, third = text.getvalue().splitlines()
    assert first.startswith("segment 39 of 40 ━")
    assert " 100% " in first
    assert second.strip() == told[1]
    assert third.startswith("land/ocean: perturbation0 1.40, ")
    assert max(map(len, (first, second, third))) <= width
    assert first.count("━") > width - 38


def test_on_a_terminal_lines_break_between_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    console = CommandConsole(is_root=True, stderr=True, are_notes=True, plain_width=100, log=None)
    assert console.is_terminal
    sentence = " ".join(["considerable"] * 20)
    with console.capture() as captured:
        console.print(sentence, highlight=False)
    lines = captured.get().splitlines()
    assert max(map(len, lines)) <= 80
    assert {word for line in lines for word in line.split()} == {"considerable"}


def test_elsewhere_a_line_stays_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    console = CommandConsole(is_root=True, stderr=True, are_notes=True, plain_width=100, log=None)
    with console.capture() as captured:
        console.print("word " * 40, highlight=False)
    assert len(captured.get().splitlines()) == 1
