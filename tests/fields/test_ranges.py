"""What is read is held against what is usual: told once, or refused where it can't be right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from respeval.errors import InputError
from respeval.fields.notices import Notices
from respeval.fields.ranges import RangeCheck, Usual, usual
from tests.support import studies
from tests.support.inputs import open_forcing, start_dates, write

SHAPE = (3, 4, 8)


def place(row: int) -> str:
    return f"in row {row}"


def checked(
    fields: np.ndarray, known: Usual, allow: bool = False, cells: np.ndarray | None = None
) -> tuple[str, ...]:
    notices = Notices()
    check = RangeCheck({"x": known}, notices, allow)
    for _ in range(2):  # what is told is told once
        check.check("file.nc", "x", fields, place, cells)
    return notices.texts


@pytest.mark.parametrize(
    ("name", "units", "typical", "given", "looks"),
    [
        ("skin", "K", 285.0, 12.0, "degrees Celsius"),
        ("surface_temperature", "K", 300.0, 80.3, "degrees Fahrenheit"),
        ("surface_temperature", "degC", 12.0, 285.0, None),
        ("PRESsfc", "Pa", 1e5, 1e3, "hPa"),
        ("Q2m", "1", 0.01, 10.0, "g/kg"),
        ("DSWRFtoa", "W m-2", 340.0, 340.0 * 21_600, "J m-2 of 6 h"),
        ("PRATEsfc", "kg m-2 s-1", 3e-5, 3e-5 * 86_400, "mm/day"),
    ],
)
def test_another_unit_in_most_cells_is_refused_with_the_likely_reason(
    name: str, units: str, typical: float, given: float, looks: str | None
) -> None:
    known = usual(name, units)
    assert checked(np.full(SHAPE, typical), known) == ()
    wrong = np.full(SHAPE, typical)
    wrong[1] = given
    with pytest.raises(
        InputError, match=r"file.nc: x can't be right in row 1: .* in 100 % of cells"
    ) as info:
        checked(wrong, known)
    assert (f"it looks like {looks}" in str(info.value)) == (looks is not None)
    told = checked(wrong, known, allow=True)
    assert len(told) == 1
    assert told[0].startswith("file.nc: x is out of range in row 1")


def test_one_cell_that_can_t_be_is_refused_and_one_that_is_far_is_told() -> None:
    known = usual("skin", "K", (285.0, 5.0))
    fields = np.full(SHAPE, 285.0)
    fields[2, 1, 1] = 330.0
    (told,) = checked(fields, known)
    assert told == (
        "file.nc: x is out of range in row 2: up to 9.0 scales from its mean (3.12 % of cells beyond 6)"
    )
    for impossible in (-1000.0, 9.96921e36, np.inf):
        fields[2, 1, 1] = impossible
        with pytest.raises(InputError, match="can't be right in row 2"):
            checked(fields, known)


@pytest.mark.parametrize(
    ("name", "units", "values"),
    [
        ("DSWRFtoa", "W m-2", (0.0, 1400.0)),
        ("LHTFLsfc", "W m-2", (-20.0, 1200.0)),
        ("PRATEsfc", "kg m-2 s-1", (0.0, 0.03)),
        ("UGRD10m", "m s-1", (-75.0, 75.0)),
        ("PRMSL", "Pa", (8.8e4, 1.08e5)),
        ("sst_anomaly", "K", (-2.0, 3.0)),
        ("dewpoint_depression", "K", (0.0, 20.0)),
    ],
)
def test_what_an_hour_can_have_though_no_month_has_it_is_usual(
    name: str, units: str, values: tuple[float, float]
) -> None:
    fields = np.full(SHAPE, sum(values) / 2)
    fields[1, 0, :2] = values
    assert checked(fields, usual(name, units)) == ()


def test_a_cell_alone_is_no_other_unit() -> None:
    rain = np.full(SHAPE, 3e-5)
    rain[0, 0, 0] = 3.0
    with pytest.raises(InputError, match="can't be right") as info:
        checked(rain, usual("PRATEsfc", "kg m-2 s-1"))
    assert "looks like" not in str(info.value)


def test_of_an_unknown_variable_only_fill_values_and_normalizations_say_what_can_t_be() -> None:
    fields = np.full(SHAPE, 3.0e12)
    assert checked(fields, usual("number_of_drops", "1")) == ()
    fields[0, 0, 0] = 1e20
    with pytest.raises(InputError, match="can't be right in row 0"):
        checked(fields, usual("number_of_drops", "1"))
    known = usual("number_of_drops", "1", (3e12, 1e10))
    fields[0, 0, 0] = 3.2e12
    assert checked(fields, known) == (
        "file.nc: x is out of range in row 0: up to 20.0 scales from its mean (3.12 % of cells beyond 6)",
    )
    with pytest.raises(InputError, match=r"in 100 % of cells, expected about 3e\+12 ± 1e\+10 1"):
        checked(fields + 2e12, known)


def test_an_anomaly_in_kelvin_is_no_temperature() -> None:
    assert checked(np.full(SHAPE, 0.3), usual("sst_anomaly", "K", (0.1, 0.5))) == ()


def test_cells_that_nobody_reads_are_passed_over() -> None:
    fields = np.full(SHAPE, 285.0)
    fields[:, 0, 0], fields[:, 0, 1] = -1e30, np.nan
    cells = np.ones(SHAPE, bool)
    cells[:, 0, :2] = False
    assert checked(fields, usual("skin", "K"), cells=cells) == ()
    with pytest.raises(InputError, match="can't be right"):
        checked(fields, usual("skin", "K"))


def test_every_window_is_looked_at_and_the_first_date_told(tmp_path: Path) -> None:
    record = studies.forcing()
    for name in ("skin", "sunlight"):
        record[name] = record[name].copy(data=record[name].values.copy())
    record["skin"][40:, 2, 3] = -1000.0
    record["sunlight"][60:, 1, 1] = 1200.0
    path = write(tmp_path, record)
    notices = Notices()
    check = RangeCheck(
        {"skin": usual("skin", "K"), "sunlight": usual("sunlight", "W m-2", (300.0, 100.0))},
        notices,
    )
    source = open_forcing(path, 80, ranges=check, starts=start_dates(0, 5))
    source.read(0, 30, [0, 1], torch.float32)
    with pytest.raises(
        InputError, match=r"skin can't be right at 2001-02-10 00:00:00: -1000 to -1000 K"
    ):
        source.read(30, 10, [0, 1], torch.float32)
    allowed = RangeCheck(check.usual, notices, allow=True)
    source = open_forcing(path, 80, ranges=allowed)
    for first in range(0, 80, 20):
        source.read(first, 20, [0], torch.float32)
    assert [text.partition(": up")[0].partition(": -1000")[0] for text in notices.texts] == [
        f"{path}: skin is out of range at 2001-02-10 00:00:00",
        f"{path}: sunlight is out of range at 2001-03-02 00:00:00",
    ]
