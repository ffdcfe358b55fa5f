"""The vertical coordinate of diagnostics.nc against the formula that it names."""

from __future__ import annotations

import json
from pathlib import Path
from unittest.mock import MagicMock

import netCDF4
import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

from respeval.cli import app
from respeval.diagnostics import with_hybrid_levels
from respeval.fields.variables import HybridLevels

#: Two layers: 0 to 300 hPa, and from there to the surface.
LEVELS = HybridLevels((0.0, 20_000.0, 0.0), (0.0, 0.1, 1.0))


def column(num_levels: int = 2) -> xr.Dataset:
    labels = [f"T_{number}" for number in range(num_levels)]
    warming = np.arange(float(num_levels))[None]
    return xr.Dataset(
        {"column_warming": (("perturbation", "level"), warming)},
        {"perturbation": ["p4K"], "level": labels},
    )


def test_the_formula_gives_the_pressure_of_layers_and_edges() -> None:
    found = with_hybrid_levels(column(), LEVELS)
    for suffix, expected in (("", [15_000.0, 65_000.0]), ("_bnds", [[0, 3e4], [3e4, 1e5]])):
        words = found[f"lev{suffix}"].attrs["formula_terms"].split()
        terms = {
            key.rstrip(":"): found[name] for key, name in zip(words[::2], words[1::2], strict=True)
        }
        pressure = terms["ap"] + terms["b"] * terms["ps"]
        np.testing.assert_allclose(pressure, expected, rtol=1e-12)
        np.testing.assert_allclose(found[f"lev{suffix}"] * 1e5, pressure, rtol=1e-12)
    assert "lev" in found["column_warming"].coords


def test_levels_of_another_column_are_left_out() -> None:
    for levels in (None, HybridLevels((0.0, 0.0), (0.0, 1.0))):
        assert "lev" not in with_hybrid_levels(column(), levels).variables
    assert "lev" not in with_hybrid_levels(xr.Dataset(), LEVELS).variables


def test_a_run_keeps_them_in_its_manifest(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not two terms of one length is passed over."""
    monkeypatch.setattr("respeval.analysis.results.Pictures", MagicMock())
    out = tmp_path / "out"
    command = ["run", str(study), "-o", str(out), "--steps", "1"]
    for stored, expected in (
        (None, False),
        ({"ap_Pa": [0.0, 2e4, 0.0], "b": [0.0, 0.1, 1.0]}, True),
        ({"ap_Pa": [0.0, 2e4], "b": [0.0, 0.1, 1.0]}, False),
    ):
        if stored is not None:
            manifest = json.loads((out / "manifest.json").read_text())
            (out / "manifest.json").write_text(json.dumps({**manifest, "hybrid_levels": stored}))
            command = ["diagnose", str(out)]
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, result.stderr
        with netCDF4.Dataset(out / "diagnostics.nc") as opened:
            assert ("lev" in opened.variables) == expected
        assert "lev_bnds" not in (out / "summary.json").read_text()
