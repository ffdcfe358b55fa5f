"""Units against plain arithmetic: what is the same, what is converted, and what is refused."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

from respeval.errors import InputError
from respeval.fields.initial import read_initial_conditions
from respeval.fields.notices import Notices
from respeval.fields.records import read_pattern
from respeval.fields.units import (
    SHARE_OF_CELL,
    Kind,
    UnknownUnitsError,
    Wanted,
    conversion,
    fit,
    in_units_of,
    kind_of,
)
from respeval.fields.variables import Variable
from tests.support import studies
from tests.support.inputs import open_forcing
from tests.support.studies import GRID


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("K", "kelvin"),
        ("degrees K", "K"),
        ("kg/m^2/s", "kg m-2 s-1"),
        ("kg m**-2 s**-1", "kg/(m^2 s)"),
        ("kg m^-2 s^-1", "kg/m**2/s"),
        ("kg m$^{-2}$ s$^{-1}$", "kg m-2 s-1"),
        ("kg m−2 s−1", "kg m-2 s-1"),
        ("mm s-1", "mm/s"),
        ("kg/kg", "1"),
        ("m**3 m**-3", "1"),
        ("(0 - 1)", "(0-1)"),
        ("fraction", "1"),
        ("mb", "hPa"),
        ("gpm", "m"),
        ("W/m²", "W m-2"),
        ("J s-1 m-2", "W/m**2"),
        ("PA", "Pa"),
    ],
)
def test_units_that_mean_the_same_change_nothing(given: str, wanted: str) -> None:
    found = conversion(given, wanted)
    assert found is not None
    assert not found.changes
    values = np.array([1, 2])
    assert found(values) is values


CELSIUS = [
    *("degC", "C", "celsius", "Celsius", "degrees_C", "deg_C", "°C", "ºC", "degree_celsius"),
    *("deg C", "degrees C", "Degrees Celsius", "deg. C", "degree C"),
]


@pytest.mark.parametrize("spelling", CELSIUS)
def test_every_spelling_of_celsius_is_converted(spelling: str) -> None:
    found = conversion(spelling, "K")
    assert found is not None
    assert found(np.array([-1.5, 0.0, 30.0])).tolist() == [-1.5 + 273.15, 273.15, 30.0 + 273.15]
    change = conversion(spelling, "K", "change")
    assert change is not None
    assert not change.changes


@pytest.mark.parametrize(
    ("given", "wanted", "called", "value", "expected"),
    [
        ("degF", "K", "sst", 86.0, 30.0 + 273.15),
        ("deg F", "degC", "sst", 212.0, 100.0),
        ("hPa", "Pa", "PRESsfc", 1013.25, 101325.0),
        ("millibar", "Pa", "PRESsfc", 2.0, 200.0),
        ("km", "m", "HGTsfc", 2.5, 2500.0),
        ("g/kg", "1", "specific_total_water_0", 7.0, 0.007),
        ("%", "1", "sea_ice_fraction", 45.0, 0.45),
        ("1", "%", "cloud", 0.45, 45.0),
        ("kW m-2", "W/m**2", "DSWRFtoa", 0.3, 300.0),
        ("mm/day", "kg m-2 s-1", "PRATEsfc", 8.64, 8.64 / 86_400),
        ("mm s-1", "kg/m**2/s", "PRATEsfc", 2e-4, 2e-4),
        ("m s**-1", "kg m-2 s-1", "tp", 1e-7, 1e-4),
        ("kg m-2 s-1", "mm/day", "precipitation", 1e-4, 8.64),
        ("mm", "kg m-2", "water_vapor_path", 25.0, 25.0),
        ("m**2 s**-2", "m", "z500", 9806.65, 1000.0),
        ("m", "m2 s-2", "geopotential_500", 1000.0, 9806.65),
    ],
)
def test_conversions_are_those_of_plain_arithmetic(
    given: str, wanted: str, called: str, value: float, expected: float
) -> None:
    found = conversion(given, wanted, called=(called,))
    assert found is not None
    assert float(found(np.array([value]))[0]) == pytest.approx(expected, rel=1e-12)
    assert found(np.array([value], np.float32)).dtype == np.float32
    assert found(np.array([int(value)])).dtype.kind in "fi"


@pytest.mark.parametrize(
    ("given", "wanted", "called"),
    [
        ("J m-2", "W m-2", "ssrd"),
        ("W", "W m-2", "flux"),
        ("hPa", "K", "skin"),
        ("K decade-1", "K", "trend"),
        ("K/decade", "K", "trend"),
        ("m", "1", "wave"),
        ("m", "kg m-2", "snow_depth"),  # of snow, not of water
        ("m", "m2 s-2", "energy"),  # nothing says that it is a geopotential
        ("mm", "kg m-2", "dust"),
    ],
)
def test_what_would_be_a_guess_is_no_conversion(given: str, wanted: str, called: str) -> None:
    assert conversion(given, wanted, called=(called,)) is None


def test_units_that_nobody_knows_are_an_error_of_their_own() -> None:
    with pytest.raises(UnknownUnitsError, match="furlongs squared"):
        conversion("furlongs squared", "K")


def fitted(
    given: str | None, wanted: str, kind: Kind = "value", **more: Any
) -> tuple[Any, tuple[str, ...]]:
    notices = Notices()
    attributes = {**({} if given is None else {"units": given}), **more}
    found = fit("f.nc", "sst", attributes, Wanted(wanted, kind), notices)
    return found, notices.texts


def test_what_was_converted_or_is_not_known_is_told_once() -> None:
    assert fitted("K", "K")[1] == ()
    assert fitted("degC", "K")[1] == ("f.nc: sst was converted from degC to K",)
    assert fitted(None, "K")[1] == ("f.nc: sst has no units; it is taken to be in K",)
    assert fitted("", "K")[1] == ("f.nc: sst has no units; it is taken to be in K",)
    (told,) = fitted("Kelvinz", "K")[1]
    assert told.startswith(
        "f.nc: sst is in 'Kelvinz' and the emulator wants 'K'; 'Kelvinz' is not known"
    )
    assert fitted("Pa", "")[1] == ()  # the checkpoint does not say
    (told,) = fitted("mm/day", "kg m-2 s-1")[1]
    assert told.endswith("to kg m-2 s-1 (1 mm of water is 1 kg m-2)")


def test_another_quantity_is_refused_with_both_units() -> None:
    with pytest.raises(InputError, match=r"f.nc: sst is in Pa, the emulator wants K; convert it"):
        fitted("Pa", "K")
    with pytest.raises(
        InputError, match="is in J m-2, the emulator wants W m-2; it is a sum over time"
    ):
        fitted("J m-2", "W m-2")
    with pytest.raises(InputError, match="holds differences of temperatures"):
        fitted("K", "K", units_metadata="temperature: difference")
    with pytest.raises(InputError, match="holds temperatures by its units_metadata"):
        fitted("degC", "K", "change", units_metadata="temperature: on_scale")


def test_masks_may_declare_metres_or_nothing() -> None:
    assert fitted(None, "1", "fraction") == (fitted("1", "1")[0], ())
    assert fitted("m", "1", "fraction")[1] == (
        "f.nc: sst declares m; its numbers are taken as fractions",
    )
    found, _ = fitted("percent", "1", "fraction")
    assert found(np.array([50.0]))[0] == 0.5


def with_units(dataset: xr.Dataset, **units: str) -> xr.Dataset:
    for name, text in units.items():
        dataset[name].attrs["units"] = text
    return dataset


def test_a_forcing_in_other_units_gives_the_same_fields(tmp_path: Path) -> None:
    units = {"skin": "K", "ocean_fraction": "1", "sunlight": "W m-2", "land_fraction": "1"}
    right = studies.forcing()
    other = right.assign(
        skin=right["skin"] - 273.15,
        sunlight=right["sunlight"] / 1000,
        ocean_fraction=100 * right["ocean_fraction"],
        land_fraction=100 * right["land_fraction"],
    )
    with_units(other, skin="degrees C", sunlight="kW m-2", ocean_fraction="%", land_fraction="%")
    right.to_netcdf(tmp_path / "right.nc")
    other.to_netcdf(tmp_path / "other.nc")
    notices = Notices()
    options: dict[str, Any] = {"units": units, "ocean_only": None}
    expected = open_forcing(tmp_path / "right.nc", **options)
    found = open_forcing(tmp_path / "other.nc", notices=notices, **options)
    np.testing.assert_allclose(
        found.read(0, 20, [0], torch.float64).fields,
        expected.read(0, 20, [0], torch.float64).fields,
        rtol=1e-13,
    )
    for name in ("ocean_fraction", "land_fraction"):
        np.testing.assert_allclose(found.mean_fraction(name), expected.mean_fraction(name))
    assert [text.rpartition("/")[2] for text in notices.texts] == [
        "other.nc: ocean_fraction was converted from % to 1",
        "other.nc: sunlight was converted from kW m-2 to W m-2",
        "other.nc: skin was converted from degrees C to K",
        "other.nc: land_fraction was converted from % to 1",
    ]


def in_two_files(folder: Path, second_units: str | None) -> None:
    record = with_units(studies.forcing(num_times=30), skin="K")
    record.isel(time=slice(0, 15)).to_netcdf(folder / "a.nc")
    later = record.isel(time=slice(15, None)).copy(deep=True)
    if second_units == "degC":
        later["skin"] = (later["skin"] - 273.15).assign_attrs(units="degC")
    elif second_units is None:
        del later["skin"].attrs["units"]
    else:
        later["skin"].attrs["units"] = second_units
    later.to_netcdf(folder / "b.nc")


def test_a_second_file_in_other_units_is_converted_and_told(tmp_path: Path) -> None:
    in_two_files(tmp_path, "degC")
    notices = Notices()
    found = open_forcing(tmp_path, 29, notices=notices).read(0, 29, [0], torch.float64)
    expected = studies.forcing(num_times=30)["skin"].values
    np.testing.assert_allclose(found.fields[:, 2].numpy(), expected, rtol=1e-13)
    (told,) = [text for text in notices.texts if "skin" in text]
    assert told == (f"{tmp_path}/b.nc: skin was converted from degC to K, as in {tmp_path}/a.nc")


def test_a_second_file_in_units_of_something_else_is_refused(tmp_path: Path) -> None:
    in_two_files(tmp_path, "Pa")
    with pytest.raises(InputError, match=r"b.nc: skin is in Pa, in .*/a.nc it is in K; convert it"):
        open_forcing(tmp_path)


def test_a_second_file_without_units_is_told(tmp_path: Path) -> None:
    in_two_files(tmp_path, None)
    notices = Notices()
    open_forcing(tmp_path, notices=notices)
    assert any("b.nc: skin has no units; it is taken to be in K, as in" in t for t in notices.texts)


def test_an_initial_condition_is_converted(tmp_path: Path) -> None:
    dataset = studies.initial()
    expected = dataset["skin"].values
    dataset["skin"] = (dataset["skin"] - 273.15).assign_attrs(units="celsius")
    dataset.to_netcdf(tmp_path / "initial.nc")
    variables = [Variable("skin", "K", "skin")]
    notices = Notices()
    found = read_initial_conditions(str(tmp_path / "initial.nc"), variables, GRID, notices=notices)
    np.testing.assert_allclose(found.state[:, 0], expected, rtol=1e-13)
    assert notices.texts == (f"{tmp_path}/initial.nc: skin was converted from celsius to K",)


def pattern(folder: Path, values: np.ndarray, **attributes: str) -> str:
    coords = {"lat": GRID.latitude, "lon": GRID.longitude}
    field = xr.DataArray(values, coords, ("lat", "lon"), attrs=attributes)
    field.to_dataset(name="tos").to_netcdf(folder / "pattern.nc")
    return str(folder / "pattern.nc")


def test_a_pattern_is_a_change(tmp_path: Path) -> None:
    warm = np.full(GRID.shape, 2.0)
    for units in ("K", "degC", "deg C", "1"):
        assert (read_pattern(pattern(tmp_path, warm, units=units), "tos", GRID) == 2.0).all()
    fahrenheit = read_pattern(pattern(tmp_path, warm, units="degF"), "tos", GRID)
    np.testing.assert_allclose(fahrenheit, 2.0 / 1.8, rtol=1e-12)
    with pytest.raises(InputError, match="tos is in K decade-1, a change of SST must be in K"):
        read_pattern(pattern(tmp_path, warm, units="K decade-1"), "tos", GRID)


def test_temperatures_are_no_pattern(tmp_path: Path) -> None:
    sst = 32.0 * np.cos(np.radians(GRID.latitude))[:, None] - 2.0 + np.zeros(GRID.shape)
    for values, units in ((sst + 273.15, "K"), (sst, "degC"), (sst + 273.15, "")):
        with pytest.raises(InputError, match="as temperatures do and changes of SST don't"):
            read_pattern(pattern(tmp_path, values, units=units), "tos", GRID)
    told = {"units": "K", "units_metadata": "temperature: difference"}
    assert (read_pattern(pattern(tmp_path, sst, **told), "tos", GRID) == sst).all()


def test_a_mask_in_percent_or_metres(tmp_path: Path) -> None:
    half = np.where(np.arange(GRID.num_lon) < 8, 1.0, 0.0) + np.zeros(GRID.shape)
    for values, units in ((100 * half, "%"), (half, "m"), (half, "(0 - 1)")):
        path = pattern(tmp_path, values, units=units)
        assert (read_pattern(path, "tos", GRID, None, SHARE_OF_CELL) == half).all()


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("K-1", "K"),
        ("s", "s-1"),
        ("s", "Hz"),
        ("m-1", "m"),
        ("g/kg", "mm/day"),
        ("kg-1 m2 s", "kg m-2 s-1"),
    ],
)
def test_reciprocals_are_no_conversion(given: str, wanted: str) -> None:
    assert conversion(given, wanted, called=("rain",)) is None
    with pytest.raises(InputError, match="convert it, or mend its units"):
        fitted(given, wanted)


@pytest.mark.parametrize(
    "given", ["K\0b", "m)", "dB", "lg(re 1 mW)", "nan", "m^-99999999999", "\ud800", "(("]
)
def test_what_is_no_unit_is_told_or_refused_and_never_more(given: str) -> None:
    for wanted in ("K", "kg m-2 s-1", "1"):
        try:
            found, told = fitted(given, wanted)
        except InputError:
            continue
        assert not found.changes
        assert len(told) == 1


def test_files_that_say_no_units_in_different_words_are_alike() -> None:
    fields = [(name, xr.DataArray(np.ones(2), attrs={"units": name})) for name in ("", "none")]
    assert [field.attrs["units"] for field in in_units_of(fields)] == ["", "none"]


def test_without_a_place_for_temporary_files_the_line_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Nowhere:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "cf_units":
                raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.delitem(sys.modules, "cf_units", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Nowhere(), *sys.meta_path])
    with pytest.raises(InputError, match="could not write a temporary file .*TMPDIR"):
        conversion("some 17 K", "K")


def test_only_a_change_of_sst_may_have_no_dimension() -> None:
    reference = Wanted("Pa", "change", "the run's response is in")
    with pytest.raises(InputError, match="ps is in 1, the run's response is in Pa"):
        fit("f.nc", "ps", {"units": "1"}, reference, Notices())


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ocean_fraction", "fraction"),
        ("land_mask", "fraction"),
        ("sea_ice_area_concentration", "fraction"),
        ("siconc", "fraction"),
        ("mass_fraction_of_water", "value"),
        ("mole_fraction_of_ozone", "value"),
        ("ozone_concentration", "value"),
    ],
)
def test_only_shares_of_the_area_are_fractions(name: str, kind: Kind) -> None:
    assert kind_of(name, "1") == kind
    assert kind_of(name, "K") == "value"


def test_a_pattern_without_dimension_is_only_to_be_scaled(tmp_path: Path) -> None:
    shape = np.broadcast_to(np.linspace(0.0, 100.0, GRID.num_lon), GRID.shape)
    path = pattern(tmp_path, shape, units="1")
    assert (read_pattern(path, "tos", GRID) == shape).all()
