"""States and forcing of the ACE fixtures, for one step."""

from __future__ import annotations

import numpy as np
import torch
import xarray as xr

from respeval.emulator.contract import Emulator
from tests.support.ace.files import AceFiles


def fields(emulator: Emulator, ace: AceFiles, num_members: int) -> list[torch.Tensor]:
    """State and forcing at two times, [member, …], every member from its own day."""
    spec = emulator.spec
    outputs = [variable.name for variable in spec.prognostic]
    with xr.open_mfdataset(str(ace.training_folder / "2000.nc")) as opened:
        rows = (
            opened.isel(time=slice(0, 4 * num_members, 4)),
            opened.isel(time=slice(1, 4 * num_members, 4)),
        )

        def stack(names: list[str], record: xr.Dataset) -> torch.Tensor:
            shape = (num_members, *spec.grid.shape)
            values = []
            for name in names:
                value = record[name].values
                value = value[:, None, None] if value.ndim == 1 else value
                values.append(np.broadcast_to(value, shape))
            return torch.from_numpy(np.stack(values, axis=1).astype(np.float32))

        forced = list(spec.required_forcing)
        return [stack(outputs, rows[0]), stack(forced, rows[0]), stack(forced, rows[1])]
