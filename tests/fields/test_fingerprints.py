"""A few fields that were read are known again, and what was remade in place is told."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from respeval.distributed.comm import Comm
from respeval.errors import InputError
from respeval.fields.fingerprints import MOST_DATES, Fingerprints, fingerprint
from tests.support import studies
from tests.support.inputs import open_forcing, write


@pytest.mark.parametrize("num_steps", [1, 8, 9, 100, 257])
def test_at_most_eight_steps_are_kept_the_multiples_of_a_power_of_two(num_steps: int) -> None:
    prints = Fingerprints()
    for step in range(num_steps):
        if prints.wants(step):
            prints.add(step, {"x": str(step)})
    power = 1
    while -(-num_steps // power) > MOST_DATES:
        power *= 2
    assert list(prints.kept) == list(range(0, num_steps, power))


def test_a_run_that_goes_on_keeps_what_one_at_once_keeps() -> None:
    once, again = Fingerprints(), Fingerprints()
    for step in range(77):
        if step == 33:  # as after a kill: what lay beyond was not used
            again = Fingerprints({k: v for k, v in again.kept.items() if k < 33})
        for prints in (once, again):
            if prints.wants(step):
                prints.add(step, {"x": str(step)})
    assert again.kept == once.kept


def test_they_can_be_read_while_the_thread_that_reads_the_forcing_adds_some() -> None:
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(30):
            prints = Fingerprints()

            def add(prints: Fingerprints = prints) -> None:
                for step in range(3000):
                    if prints.wants(step):
                        prints.add(step, {"x": str(step)})

            thread = threading.Thread(target=add)
            thread.start()
            while thread.is_alive():
                assert len(prints.kept) <= MOST_DATES + 1
            thread.join()
            assert list(prints.kept) == [0, 512, 1024, 1536, 2048, 2560]
    finally:
        sys.setswitchinterval(usual)


def test_a_field_is_the_same_however_it_is_stored() -> None:
    field = np.array([[1.5, np.nan], [0.0, -2.0]])
    assert fingerprint(field) == fingerprint(field.astype(np.float32))
    assert fingerprint(field) == fingerprint(np.where(np.isnan(field), -np.nan, field) * 1.0)
    assert fingerprint(np.array([0.0])) == fingerprint(np.array([-0.0]))
    assert fingerprint(field) != fingerprint(field.T)


def read_all(location: Path, num_steps: int) -> dict[int, dict[str, str]]:
    source = open_forcing(location, num_steps)
    for _ in source.windows(0, num_steps, [0], 7, torch.float32, Comm()):
        pass
    return source.fingerprints


def test_what_is_read_turned_around_from_zarr_or_in_other_windows_is_the_same(
    tmp_path: Path,
) -> None:
    record = studies.forcing()
    kept = read_all(write(tmp_path, record), 30)
    assert list(kept) == list(range(0, 30, 4))
    assert set(kept[0]) == {"ocean_fraction", "sunlight", "skin"}
    turned = tmp_path / "turned.nc"
    record.isel(lat=slice(None, None, -1)).to_netcdf(turned)
    record.to_zarr(tmp_path / "forcing.zarr")
    assert read_all(turned, 30) == kept
    assert read_all(tmp_path / "forcing.zarr", 30) == kept
    whole = open_forcing(turned, 30)
    whole.read(0, 30, [0], torch.float64)
    assert whole.fingerprints == kept


@pytest.mark.parametrize("suffix", ["nc", "zarr"])
def test_a_file_remade_in_place_is_told_with_variable_and_date(tmp_path: Path, suffix: str) -> None:
    record = studies.forcing()

    def save(dataset: xr.Dataset) -> Path:
        path = tmp_path / f"forcing.{suffix}"
        dataset.to_zarr(path, mode="w") if suffix == "zarr" else dataset.to_netcdf(path)
        return path

    kept = read_all(save(record), 30)
    changed = record["skin"].values.copy()
    changed[9:] += 1.0
    path = save(record.assign(skin=(record["skin"].dims, changed)))
    again = open_forcing(path, 50)
    again.go_on_with({step: found for step, found in kept.items() if step < 9})
    with pytest.raises(InputError, match="skin at 2001-01-13 00:00:00 is not what the run read"):
        again.go_on_with(kept)
