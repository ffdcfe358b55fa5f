"""The table of a run: intervals where they have room, and only the digits that are known."""

from __future__ import annotations

import io

import pytest
import xarray as xr
from rich.console import Console

from respeval.presentation.console.warming import full_tables, means_tables, warming_tables


def columns(count: int) -> dict[str, xr.Dataset]:
    """Two diagnostics of so many perturbations, known to 0.1 %."""
    place = {"band": ["tropics"], "surface": ["all"]}
    found = {
        "land_warming": (("band",), [5.74321]),
        "land_warming_stderr": (("band",), [0.004]),
        "land_warming_low": (("band",), [5.7352]),
        "land_warming_high": (("band",), [5.7512]),
        "T_mean": (("surface",), [0.57432]),
        "T_mean_stderr": (("surface",), [0.0004]),
        "T_mean_low": (("surface",), [0.5735]),
        "T_mean_high": (("surface",), [0.5751]),
    }
    return {f"p{k}K": xr.Dataset(found, place) for k in range(count)}


def lines(table: object, width: int) -> list[str]:
    text = io.StringIO()
    Console(file=text, width=width).print(table)
    return text.getvalue().splitlines()


@pytest.mark.parametrize(
    ("count", "width", "with_intervals"), [(1, 80, 1), (2, 100, 1), (3, 80, 0)]
)
def test_intervals_stand_where_they_have_room(count: int, width: int, with_intervals: int) -> None:
    shown = lines(warming_tables(columns(count), "Response", width)[0], width)
    [row] = [line for line in shown if "tropics" in line]
    cell = "5.743 [5.735, 5.751]" if with_intervals else "5.743 ± 0.004"
    assert row.count(cell) == count
    assert len([line for line in shown if line.startswith("│")]) == 1  # nothing is wrapped
    assert ("[95 % interval]" in "".join(shown)) == bool(with_intervals)


@pytest.mark.parametrize(
    ("width", "cell"), [(100, "0.5743 [0.5735, 0.5751]"), (70, "0.5743 ± 0.0004")]
)
def test_means_and_all_numbers_do_likewise(width: int, cell: str) -> None:
    for table in (
        means_tables(columns(3), "Response", width)[0],
        full_tables(columns(3), ["land_warming", "T_mean"], width)[0],
    ):
        assert "\n".join(lines(table, width)).count(cell) == 3


@pytest.mark.parametrize("width", [40, 60, 80])
def test_what_has_no_room_stands_in_parts_and_nothing_is_cut(width: int) -> None:
    for tables in (
        warming_tables(columns(6), "Response", width),
        means_tables(columns(6), "Response", width),
        full_tables(columns(6), ["land_warming", "T_mean"], width),
    ):
        shown = "\n".join(line for table in tables for line in lines(table, width))
        assert [f"p{k}K" in shown for k in range(6)] == 6 * [True]
        assert shown.count("5.743 ± 0.004") + shown.count("0.5743 ± 0.0004") >= 6
        assert "…" not in shown
        assert "Response, further columns" in shown or not shown.startswith("Response")
