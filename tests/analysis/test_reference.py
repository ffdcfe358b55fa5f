"""A response beside a reference: analytic fields, synthetic noise, other grids, bad files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from respeval.analysis.reference import compare_with
from respeval.analysis.results import remove_reference
from respeval.case.file import load_case
from respeval.diagnostics import response_maps
from respeval.diagnostics.agreement import Noise, agreement, compared_outputs
from respeval.errors import InputError
from respeval.fields.grid import Grid
from respeval.fields.notices import Notices
from respeval.fields.regrid import Conservative
from respeval.files.netcdf import write_netcdf
from tests.support import studies
from tests.support.invoking import invoke, refused
from tests.support.means import continents, saved_means

FINE = Grid.legendre_gauss(12, 24)
OTHERS = {
    "coarser Gauss": Grid.legendre_gauss(8, 16),
    "finer Gauss": Grid.legendre_gauss(20, 40),
    "cell-centred, south to north, from 180 W": Grid(
        np.arange(-85.0, 90.0, 10.0), np.arange(-177.5, 180.0, 5.0)
    ),
    "poles among the latitudes": Grid(np.linspace(90.0, -90.0, 19), np.arange(0.0, 360.0, 10.0)),
}


def plane(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Sine of latitude and longitude in radians, [lat, lon]."""
    lat, lon = np.radians(grid.latitude), np.radians(grid.longitude)
    return np.sin(lat)[:, None] + 0.0 * lon, lon + 0.0 * lat[:, None]


def cell_areas(grid: Grid) -> np.ndarray:
    """Share of the sphere between the edges of each cell, [lat, lon]."""
    south, north = np.sort(np.sin(np.radians(grid.latitude_bounds())), axis=1).T
    return np.repeat((north - south)[:, None] / 2 / grid.num_lon, grid.num_lon, axis=1)


def field(grid: Grid, values: np.ndarray) -> xr.DataArray:
    return xr.DataArray(values, {"lat": grid.latitude, "lon": grid.longitude}, ("lat", "lon"))


# --- regridding --------------------------------------------------------------------------------


@pytest.mark.parametrize("target", OTHERS.values(), ids=OTHERS.keys())
def test_regridding_keeps_the_mean_over_the_globe(target: Grid) -> None:
    values = np.random.default_rng(0).normal(size=FINE.shape)
    found = Conservative(FINE, target)(field(FINE, values)).values
    assert (found * cell_areas(target)).sum() == pytest.approx((values * cell_areas(FINE)).sum())
    assert found.std() > 0.1


def test_a_cell_is_the_mean_of_what_it_overlaps_across_the_seam_and_at_the_pole() -> None:
    """Cells of the target are made of two by three whole ones, or of halves of them."""
    source = Grid(np.arange(85.0, -90.0, -10.0), np.arange(5.0, 360.0, 10.0))
    target = Grid(np.arange(-80.0, 90.0, 20.0), np.arange(0.0, 360.0, 30.0))
    values = np.random.default_rng(1).normal(size=source.shape)
    found = Conservative(source, target)(field(source, values)).values
    areas = cell_areas(source)

    def mean(rows: list[int], columns: list[int], shares: list[float]) -> float:
        weights = areas[np.ix_(rows, columns)] * shares
        return float((values[np.ix_(rows, columns)] * weights).sum() / weights.sum())

    # Longitudes -15 to 15: half of the cell around 345 (340-350), then 355, 5, and half of 15 (10-20).
    assert found[-1, 0] == pytest.approx(mean([0, 1], [34, 35, 0, 1], [0.5, 1.0, 1.0, 0.5]))
    assert found[0, 1] == pytest.approx(mean([16, 17], [1, 2, 3, 4], [0.5, 1.0, 1.0, 0.5]))


def test_missing_cells_are_left_out_of_the_mean() -> None:
    target = Grid(np.arange(-60.0, 90.0, 60.0), np.arange(0.0, 360.0, 90.0))
    values = np.ones(FINE.shape)
    values[:2] = np.nan
    found = Conservative(FINE, target)(field(FINE, values)).values
    assert found[-1] == pytest.approx(1.0)
    values[:4] = np.nan
    assert np.isnan(Conservative(FINE, target)(field(FINE, values)).values[-1]).all()


# --- the statistics ----------------------------------------------------------------------------


def of(values: np.ndarray) -> xr.DataArray:
    """[lat, lon] or [draw, lat, lon] as responses."""
    stacked = values if values.ndim == 3 else values[None]
    return xr.DataArray(stacked, dims=("perturbation", "lat", "lon"))


def globe(grid: Grid) -> xr.DataArray:
    return xr.DataArray(grid.area_weights()[None], dims=("region", "lat", "lon"))


def no_noise(values: xr.DataArray) -> Noise:
    means = xr.DataArray(np.zeros((len(values), 1)), dims=("perturbation", "region"))
    return Noise(xr.zeros_like(values), means)


def test_statistics_of_fields_that_are_known() -> None:
    """With s = sin(latitude), whose mean square over the sphere is 1/3: x = 3 + 2s, y = 1 + s + c,
    c = cos(longitude), of mean square 1/2 and uncorrelated with s."""
    s, lon = plane(FINE)
    response, reference = of(3 + 2 * s), of(1 + s + np.cos(lon))
    none = no_noise(response)
    found = agreement(response, reference, globe(FINE), (none, none, none)).isel(
        perturbation=0, region=0
    )
    expected = {
        "bias": 2.0,
        "bias_stderr": 0.0,
        "rmse": np.sqrt(4 + 1 / 3 + 1 / 2),
        "rmse_centred": np.sqrt(1 / 3 + 1 / 2),
        "pattern_correlation": (2 / 3) / np.sqrt(4 / 3 * (1 / 3 + 1 / 2)),
        "pattern_ratio": np.sqrt(4 / 3 / (1 / 3 + 1 / 2)),
        "reference_spread": np.sqrt(1 / 3 + 1 / 2),
        "rmse_noise": 0.0,
        "within_noise": 0,
    }
    for name, value in expected.items():
        assert float(found[name]) == pytest.approx(value, abs=1e-12), name
    for name in ("rmse", "rmse_centred", "pattern_correlation"):
        assert float(found[f"{name}_corrected"]) == pytest.approx(float(found[name])), name


@pytest.mark.parametrize("shared", [0.0, 0.6])
def test_without_noise_errors_and_correlation_are_those_of_the_truth(shared: float) -> None:
    """4,000 draws of noise that is correlated in space, and in both fields where `shared` > 0."""
    rng, draws = np.random.default_rng(2), 4000
    s, lon = plane(FINE)
    truth, other = 1.0 + 0.5 * s, 0.7 + 0.5 * s + 0.4 * np.cos(lon)
    area = FINE.area_weights()
    wave = [np.ones(FINE.shape), np.sqrt(2) * np.sin(3 * lon), np.sqrt(2) * np.cos(2 * lon)]
    amplitudes = np.array([0.06, 0.1, 0.08])[:, None, None] * np.stack(wave) * (1 + 0.5 * s**2)
    common = rng.normal(size=(draws, 3))

    def noise() -> np.ndarray:
        coefficients = shared**0.5 * common + (1 - shared) ** 0.5 * rng.normal(size=(draws, 3))
        return np.einsum("dk,kij->dij", coefficients, amplitudes)

    cells = (amplitudes**2).sum(0)
    of_mean = ((amplitudes * area).sum((1, 2)) ** 2).sum()

    def known(scale: float) -> Noise:
        variances = of(np.broadcast_to(scale * cells, (draws, *FINE.shape)))
        means = xr.DataArray(np.full((draws, 1), scale * of_mean), dims=("perturbation", "region"))
        return Noise(variances, means)

    together = known(2.0 * (1.0 - shared))
    response, reference = of(truth + noise()), of(other + noise())
    found = agreement(response, reference, globe(FINE), (known(1.0), known(1.0), together))
    none = no_noise(of(truth))
    true = agreement(of(truth), of(other), globe(FINE), (none, none, none)).isel(perturbation=0)
    for name in ("rmse", "rmse_centred"):
        raw, free = ((found[f"{name}{x}"] ** 2).isel(region=0) for x in ("", "_corrected"))
        right, error = true[name].item() ** 2, float(raw.std()) / draws**0.5
        assert abs(float(free.mean()) - right) < 4.0 * error, name
        assert float(raw.mean()) - right > 15.0 * error, name
        assert (found["within_noise"] == 0).mean() > 0.99
    raw, free = (found[f"pattern_correlation{x}"] for x in ("", "_corrected"))
    right = true["pattern_correlation"].item()
    assert abs(float(free.mean()) - right) < 0.25 * abs(float(raw.mean()) - right)
    spread = float(found["bias"].std())
    assert float(found["bias_stderr"].mean()) == pytest.approx(spread, rel=0.05)


def test_an_error_below_the_noise_is_zero_and_flagged() -> None:
    s, _ = plane(FINE)
    loud = no_noise(of(s))
    loud = Noise(loud.cells + 1.0, loud.means + 0.25)
    found = agreement(of(s + 0.1), of(s), globe(FINE), (loud, no_noise(of(s)), loud))
    found = found.isel(perturbation=0, region=0)
    assert found["within_noise"] == 1
    assert found["rmse_corrected"] == found["rmse_centred_corrected"] == 0.0
    assert found["rmse_noise"] == pytest.approx(1.0)
    assert np.isnan(found["pattern_correlation_corrected"])


# --- files -------------------------------------------------------------------------------------


def change(grid: Grid) -> np.ndarray:
    s, lon = plane(grid)
    return 2.0 + s + 0.5 * np.cos(lon)


def write_run(folder: Path, grid: Grid, offset: float = 0.0, spread: float = 0.5) -> xr.Dataset:
    """group_means.nc of 24 months of one sample, warmed by `change` + offset and two years' noise."""
    folder.mkdir(parents=True, exist_ok=True)
    years = np.repeat([1.0, -1.0], 12)[:, None, None] * spread * (1.0 + 0.0 * plane(grid)[0])
    warm = change(grid) + offset + years
    members = {"t": 280.0 + np.stack([0.0 * warm, warm])[:, None]}
    means, _ = saved_means(members, grid=grid)
    write_netcdf(means, folder / "group_means.nc")
    return response_maps(means)


def reference_file(path: Path, grid: Grid, **extra: object) -> Path:
    dataset = xr.Dataset({"t": field(grid, change(grid)).assign_attrs(units="K")})
    dataset.assign(**extra).to_netcdf(path)
    return path


@pytest.mark.parametrize("order", ["as it is", "south to north", "from 180 W", "other names"])
def test_the_same_cells_in_another_order_are_compared_as_they_are(
    order: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("respeval.analysis.known.Conservative", None)  # nothing is regridded
    response = write_run(tmp_path / "run", FINE, offset=0.25)
    path = reference_file(tmp_path / "f.nc", FINE)
    dataset = xr.load_dataset(path)
    if order == "south to north":
        dataset = dataset.isel(lat=slice(None, None, -1))
    if order == "from 180 W":
        dataset = dataset.roll(lon=12, roll_coords=True)
        dataset["lon"] = (dataset["lon"] + 180.0) % 360.0 - 180.0
    if order == "other names":
        dataset = dataset.rename(lat="latitude", lon="longitude").expand_dims("time", axis=0)
    path.unlink()
    dataset.to_netcdf(path)
    found = compare_with(tmp_path / "run", response, str(path)).isel(perturbation=0)
    assert found["t_bias"].values == pytest.approx([0.25] * 3)
    assert found["t_rmse"].values == pytest.approx([0.25] * 3)
    # Two years that differ by 1: the standard error of their mean is 1/2, in every cell alike.
    assert found["t_rmse_noise"].values == pytest.approx([0.5] * 3)
    assert found["t_bias_stderr"].values == pytest.approx([0.5] * 3)
    assert found["t_rmse_centred_corrected"].values == pytest.approx([0.0] * 3, abs=1e-6)
    assert found["t_pattern_correlation_corrected"].values == pytest.approx([1.0] * 3)
    assert found["t_within_noise"].values.tolist() == [1, 1, 1]


@pytest.mark.parametrize("name", list(OTHERS))
def test_the_coarser_grid_is_compared_on(name: str, tmp_path: Path) -> None:
    other = OTHERS[name]
    response = write_run(tmp_path / "run", FINE, offset=0.25)
    write_run(tmp_path / "other", other, spread=0.0)
    (tmp_path / "other" / "manifest.json").write_text("{}")
    (tmp_path / "run" / "manifest.json").write_text("{}")
    path = reference_file(tmp_path / "f.nc", other)
    coarse = min(FINE, other, key=lambda grid: grid.num_lat * grid.num_lon)
    for source in (path, tmp_path / "other"):
        found = compare_with(tmp_path / "run", response, str(source)).isel(perturbation=0)
        assert found.attrs["compared_on"] == str(coarse)
        assert found["t_bias"].values == pytest.approx([0.25] * 3, abs=0.02)
        assert found["t_pattern_correlation"].values == pytest.approx([1.0] * 3, abs=5e-3)
        assert found["t_bias_stderr"].values == pytest.approx([0.5] * 3)
        assert found["t_rmse_noise"].values == pytest.approx([0.5] * 3)


def test_runs_of_the_same_samples_share_their_noise(tmp_path: Path) -> None:
    """The manifests tell of the same samples, and both runs have the same weather."""
    sampling = {"case": {}, "forcing": {}, "num_samples": 1}
    response = write_run(tmp_path / "run", FINE, offset=0.25)
    write_run(tmp_path / "other", FINE)
    for folder, content in (("run", sampling), ("other", sampling)):
        (tmp_path / folder / "manifest.json").write_text(json.dumps(content))
    found = compare_with(tmp_path / "run", response, str(tmp_path / "other"))
    assert found["t_rmse_noise"].values == pytest.approx(np.zeros((1, 3)), abs=1e-9)
    assert found["t_rmse_corrected"].values == pytest.approx(np.full((1, 3), 0.25))
    assert found["t_within_noise"].values.tolist() == [[0, 0, 0]]
    (tmp_path / "other" / "manifest.json").write_text(json.dumps({**sampling, "num_samples": 2}))
    found = compare_with(tmp_path / "run", response, str(tmp_path / "other"))
    assert found["t_rmse_noise"].values == pytest.approx(np.full((1, 3), 0.5**0.5))


def test_cells_that_the_reference_lacks_do_not_count(tmp_path: Path) -> None:
    response = write_run(tmp_path / "run", FINE, offset=0.25)
    land, _ = continents(FINE)
    values = np.where(land, np.nan, change(FINE) - 1.0)
    path = reference_file(tmp_path / "f.nc", FINE, t=field(FINE, values))
    found = compare_with(tmp_path / "run", response, str(path)).isel(perturbation=0)
    assert found["t_bias"].values == pytest.approx([1.25, np.nan, 1.25], nan_ok=True)
    assert np.isnan(found["t_bias_stderr"].values[1])
    assert found["t_within_noise"].values.tolist() == [0, -1, 0]


def test_the_error_that_a_file_tells_counts(tmp_path: Path) -> None:
    response = write_run(tmp_path / "run", FINE, offset=1.0)
    told = field(FINE, np.full(FINE.shape, 0.3))
    path = reference_file(tmp_path / "f.nc", FINE, t_stderr=told)
    found = compare_with(tmp_path / "run", response, str(path)).isel(perturbation=0)
    assert found["t_rmse_noise"].values == pytest.approx([np.hypot(0.5, 0.3)] * 3)
    assert found["t_rmse_corrected"].values == pytest.approx([np.sqrt(1 - 0.25 - 0.09)] * 3)


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        (
            {"t": field(FINE, change(FINE)).assign_attrs(units="K decade-1")},
            "t is in K decade-1, the run's response is in K",
        ),
        ({"t": xr.DataArray(1.0)}, "shares no output with the run (the run has: t"),
        (
            {"t": field(FINE, change(FINE)).expand_dims(perturbation=["p8K", "p9K"])},
            "has no perturbation of the run (it has: p8K, p9K; the run: p4K)",
        ),
    ],
)
def test_a_reference_that_does_not_fit_is_refused(
    extra: dict[str, xr.DataArray], told: str, tmp_path: Path
) -> None:
    response = write_run(tmp_path / "run", FINE)
    cells = {"cells": field(FINE, change(FINE))}
    path = reference_file(tmp_path / "f.nc", FINE, **cells, **extra)
    with pytest.raises(InputError) as error:
        compare_with(tmp_path / "run", response, str(path))
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("units", "factor", "told"),
    [
        ("degC", 1.0, ""),
        ("deg C", 1.0, ""),
        ("Kelvin", 1.0, ""),
        ("degF", 1.8, "t was converted from degF to K"),
        ("mK", 1000.0, "t was converted from mK to K"),
        (None, 1.0, "t has no units; it is taken to be in K"),
    ],
)
def test_a_reference_may_say_its_units_in_other_words(
    tmp_path: Path, units: str | None, factor: float, told: str
) -> None:
    response = write_run(tmp_path / "run", FINE, offset=0.25)
    given = field(FINE, factor * change(FINE)).assign_attrs({"units": units} if units else {})
    path = reference_file(tmp_path / "f.nc", FINE, t=given)
    notices = Notices()
    found = compare_with(tmp_path / "run", response, str(path), notices).isel(perturbation=0)
    assert found["t_bias"].values == pytest.approx([0.25] * 3)
    assert notices.texts == ((f"{path}: {told}",) if told else ())


def test_a_grid_that_is_not_global_is_refused(tmp_path: Path) -> None:
    response = write_run(tmp_path / "run", FINE)
    path = reference_file(tmp_path / "f.nc", FINE)
    part = xr.load_dataset(path).isel(lon=slice(0, 12))
    path.unlink()
    part.to_netcdf(path)
    with pytest.raises(InputError, match="f.nc is on no global grid"):
        compare_with(tmp_path / "run", response, str(path))


# --- the commands ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the small study that was held against a file without perturbations."""
    folder = tmp_path_factory.mktemp("reference")
    s, _ = plane(studies.GRID)
    known = {"skin": 4.0 + s, "rain": 1e-6 * s}
    xr.Dataset({name: field(studies.GRID, x) for name, x in known.items()}).to_netcdf(
        folder / "known.nc"
    )
    shown = invoke("run", study, "-o", folder / "out", "--reference", folder / "known.nc")
    assert "beside" in shown
    return folder / "out"


def test_a_run_with_a_reference_writes_it(finished: Path) -> None:
    assert (finished / "figures" / "reference.png").is_file()
    with xr.open_dataset(finished / "reference.nc") as found:
        assert compared_outputs(found) == ["skin", "rain"]
        assert found["skin_bias"].dims == ("perturbation", "region")
        assert found["skin_bias"].attrs["units"] == "K"
        assert found.attrs["not_shared"] == "air_temperature_0 air_temperature_1"
        numbers = found.load()
    summary = json.loads((finished / "summary.json").read_text())
    bias = numbers["skin_bias"].sel(perturbation="p2K", region="land").item()
    assert summary["p2K/reference/bias/land/skin"] == bias
    assert summary["p4K/land_ocean_warming_ratio/tropics"] is not None


def test_another_reference_is_asked_for_afterwards(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    shown = invoke("diagnose", out, "--reference", f"p4K={finished.parent / 'known.nc'}", "--all")
    assert "Response to p4K beside" in shown
    assert "not in the reference: air_temperature_0, air_temperature_1" in shown
    with xr.open_dataset(out / "reference.nc") as found:
        assert found["perturbation"].values.tolist() == ["p4K"]


def test_a_run_is_its_own_perfect_reference(finished: Path) -> None:
    with xr.open_dataset(finished / "response.nc") as response:
        found = compare_with(finished, response.load(), str(finished))
    assert float(abs(found["skin_rmse"]).max()) == 0.0
    assert found["rain_pattern_correlation"].values == pytest.approx(np.ones((2, 3)))


def test_without_a_reference_an_older_result_goes(tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    for name in ("reference.nc", "figures/reference.png", "response.nc"):
        (tmp_path / name).touch()
    remove_reference(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == ["response.nc"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["nowhere.nc"], "nowhere.nc: no such file or folder"),
        (["p3K=known.nc"], "the run has no perturbation 'p3K' (it has: p2K, p4K)"),
        (["known.nc", "p4K=known.nc"], "must be the only one"),
    ],
)
def test_a_wrong_reference_is_told_before_the_run(
    given: list[str], told: str, study: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(finished.parent)
    options = [part for text in given for part in ("--reference", text)]
    assert told in refused("run", study, "-o", "other", *options)
    assert not Path("other").exists()


def test_labels_that_do_not_fit_are_told_before_the_run(
    study: Path, finished: Path, tmp_path: Path
) -> None:
    """As the demo's truth beside another perturbation; a run's folder as a reference likewise."""
    grid = studies.GRID
    skin = field(grid, np.full(grid.shape, 4.0)).expand_dims(perturbation=["p8K"])
    xr.Dataset({"skin": skin}).to_netcdf(tmp_path / "truth.nc")
    for reference, has in ((tmp_path / "truth.nc", "p8K"), (finished, "p2K, p4K")):
        told = f"has no perturbation of the run (it has: {has}; the run: box"
        run = ("run", study, "-o", tmp_path / "out", "--reference", reference)
        run = (
            *run,
            "--perturb",
            "box=patch:2,lat_center=0,lon_center=90,lat_width=60,lon_width=90",
        )
        assert told in refused(*run)
        shown = " ".join(invoke(*run, "--dry-run", code=1).split())
        assert told in shown
        assert not (tmp_path / "out").exists()
    part = xr.load_dataset(tmp_path / "truth.nc").isel(lat=slice(2, 6))
    part = part.assign_coords(perturbation=["p4K"])
    part.to_netcdf(tmp_path / "part.nc")
    run = ("run", study, "-o", tmp_path / "out", "--reference", tmp_path / "part.nc")
    assert "part.nc is on no global grid" in refused(*run)
    assert not (tmp_path / "out").exists()


def test_a_perturbation_that_one_of_several_lacks_is_told(study: Path, tmp_path: Path) -> None:
    grid = studies.GRID
    skin = field(grid, np.full(grid.shape, 4.0)).expand_dims(perturbation=["p4K"])
    xr.Dataset({"skin": skin}).to_netcdf(tmp_path / "truth.nc")
    run = ("run", study, "-o", tmp_path / "out", "--reference", tmp_path / "truth.nc")
    shown = " ".join(invoke(*run, "--days", 9).split())
    assert "truth.nc has no p2K, which is held against nothing" in shown


def test_what_fails_of_a_reference_keeps_no_result_from_being_written(
    study: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*arguments: object) -> None:
        raise InputError("known.nc is gone")

    monkeypatch.setattr("respeval.analysis.results.compare_with", failing)
    out = tmp_path / "out"
    given = ("--reference", finished.parent / "known.nc")
    line = refused("run", study, "-o", out, "--days", 9, *given)
    assert f"{out} is finished and has its own results, but " in line
    assert "not held against its reference: known.nc is gone" in line
    assert json.loads((out / "manifest.json").read_text())["status"] == "finished"
    for name in ("response.nc", "diagnostics.nc", "summary.json", "figures/response_map.png"):
        assert (out / name).is_file()
    assert not (out / "reference.nc").exists()


def test_none_takes_back_the_reference_of_the_case(tmp_path: Path) -> None:
    checkpoint = studies.write_study(tmp_path, days=9, reference="nowhere.nc")
    assert "nowhere.nc: no such file" in refused("run", checkpoint, "-o", tmp_path / "out")
    invoke("run", checkpoint, "-o", tmp_path / "out", "--reference", "none")
    assert not (tmp_path / "out" / "reference.nc").exists()
    invoke("diagnose", tmp_path / "out", "--reference", "none")
    case = load_case(None, {**CASE, "reference": {"p4K": "none"}})
    assert case.reference is None
    case = load_case(None, {**CASE, "reference": {"p4K": "none", "p2K": "a.nc"}})
    assert case.reference == {"p2K": str(Path.cwd() / "a.nc")}


CASE = {"forcing": "f.nc", "initial_condition": "i.nc", "years": 1}
