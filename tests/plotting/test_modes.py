"""What the figures of indices and teleconnections draw, against the Datasets that they were made from."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from respeval import plotting
from tests.support.means import GRID, continents, months

LABELS = ("p2K", "p4K", "warmpool")


def series(num_months: int = 312, filtered: bool = True) -> xr.Dataset:
    """indices.nc of a baseline, a climate with its index and one with another."""
    base = np.sin(np.arange(num_months) / 7.0)
    values = np.stack([base, base + 1e-6, 0.5 * base])
    found = xr.Dataset(coords={"group": ["baseline", "p4K", "pattern"]}).merge(months(num_months))
    for name in ("nino34", "tpi", *(["tpi_filtered"] if filtered else [])):
        found[name] = (("group", "time"), values, {"units": "K"})
    return found


def lines(figure: Figure, panel: int) -> dict[str, np.ndarray]:
    return {
        str(line.get_label()): np.asarray(line.get_ydata())
        for line in figure.axes[panel].lines
        if len(line.get_xdata()) > 2
    }


def test_groups_with_the_baselines_index_are_not_drawn_again() -> None:
    given = series()
    figure = plotting.index_series(given)
    upper, lower = lines(figure, 0), lines(figure, 1)
    assert list(upper) == ["baseline", "pattern"]
    np.testing.assert_array_equal(upper["pattern"], given["nino34"][2])
    assert list(lower) == ["baseline", "pattern", "13-year low-pass, baseline"]
    np.testing.assert_array_equal(lower["13-year low-pass, baseline"], given["tpi_filtered"][0])
    assert figure.axes[0].get_title(loc="right") == ""
    alike = plotting.index_series(given.isel(group=[0, 1]))
    assert alike.axes[0].get_title(loc="right") == "the same in every group"
    assert alike.axes[0].get_title(loc="left") == "a  Niño 3.4"
    assert "13-year" not in "".join(lines(plotting.index_series(series(24, False)), 1))


def test_samples_of_other_dates_are_lines_of_their_own() -> None:
    given = series(24, False).isel(group=[0, 2]).drop_vars("tpi")
    given["nino34"] = (
        ("group", "sample", "time"),
        np.stack([given["nino34"].values, 2.0 * given["nino34"].values], axis=1),
        {"units": "K"},
    )
    given["nino34"][:, 1] = np.nan  # one that blew up
    figure = plotting.index_series(given)
    assert len(figure.axes) == 1
    drawn = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 24]
    assert [line.get_label() for line in drawn] == ["baseline", "_", "pattern", "_"]
    np.testing.assert_array_equal(drawn[2].get_ydata(), given["nino34"][1, 0])


def maps(labels: tuple[str, ...] = LABELS) -> xr.Dataset:
    """regressions.nc of a temperature and of rain; one cell of each map is not significant."""
    land, _ = continents(GRID)
    rng = np.random.default_rng(2)
    groups = ("baseline", *labels)
    coords = {"group": list(groups), "lat": GRID.latitude, "lon": GRID.longitude}
    found = xr.Dataset(coords={**coords, "perturbation": list(labels)})
    found["mean_ocean_fraction"] = (("lat", "lon"), 1.0 - land)
    for name, units, size in (("T", "1", 1.0), ("rain", "kg m-2 s-1 K-1", 1e-6)):
        told = {"units": units, "long_name": f"regression of {name} on the Nino 3.4 index"}
        for full, dim, number in (
            (name, "group", len(groups)),
            (f"{name}_change", "perturbation", len(labels)),
        ):
            dims = (dim, "lat", "lon")
            shape = (number, *GRID.shape)
            found[full] = (dims, size * rng.standard_normal(shape), told)
            found[f"{full}_pvalue"] = (dims, np.zeros(shape))
            significant = np.ones(shape, np.int8)
            significant[:, 3, 5] = 0
            found[f"{full}_significant"] = (dims, significant)
    return found


def drawn(figure: Figure) -> list[np.ndarray]:
    return [
        np.asarray(artist.get_array())
        for panel in figure.axes
        for artist in panel.collections
        if type(artist).__name__ == "QuadMesh" and panel.name == "mollweide"
    ]


def test_every_map_is_drawn_and_rain_in_millimetres_a_day() -> None:
    given = maps()
    figure = plotting.teleconnection_maps(given, ["T", "rain"])
    panels = [panel for panel in figure.axes if panel.name == "mollweide"]
    titles = [panel.get_title(loc="left") for panel in panels]
    of_output = ["Baseline", *(f"{label} − baseline" for label in LABELS)]
    assert titles == [
        f"{letter}  {title}" for letter, title in zip("abcdefgh", of_output * 2, strict=True)
    ]
    signed = (GRID.longitude + 180.0) % 360.0 - 180.0
    order = np.argsort(signed)
    fields = drawn(figure)
    expected = [given["T"].sel(group="baseline"), *given["T_change"]]
    expected += [86400.0 * given["rain"].sel(group="baseline"), *(86400.0 * given["rain_change"])]
    for got, field in zip(fields, expected, strict=True):
        np.testing.assert_allclose(got[:, 1:-1], field.values[:, order], rtol=1e-12)
    told = [part.get_suptitle() for part in figure.subfigs]
    assert told[0] == "Regression of T on the Niño 3.4 index; dots: not significant"
    bars = [panel.get_xlabel() for panel in figure.axes if panel.name != "mollweide"]
    assert bars == ["K K⁻¹", "Change (K K⁻¹)", "mm day⁻¹ K⁻¹", "Change (mm day⁻¹ K⁻¹)"]
    for panel in panels:
        [dots] = [a for a in panel.collections if type(a).__name__ == "PathCollection"]
        [place] = np.degrees(dots.get_offsets())
        np.testing.assert_allclose(place, [signed[5], GRID.latitude[3]], rtol=1e-12)


def test_a_run_of_the_baseline_alone_has_one_map_of_each() -> None:
    given = maps(()).drop_vars(["T_change", "rain_change", "perturbation"], errors="ignore")
    figure = plotting.teleconnection_maps(given.drop_dims("perturbation", errors="ignore"), ["T"])
    assert len(drawn(figure)) == 1
