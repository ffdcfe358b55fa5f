"""Make `land_mask.npz` again: `python -m respeval.planet.make_land_mask [FILE]`.

Needs the package global-land-mask (Karin 2020, from the GLOBE elevation model), which nothing else
in respeval uses. The mask has one bit per half-degree cell, sampled at its centre.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from respeval.planet.geography import LAND_MASK_FILE, MASK_SHAPE, mask_centres


def make_land_mask(path: Path) -> None:
    """Write the packed mask [360 lat north to south, 720 lon from 0 east] to `path`."""
    from global_land_mask import globe

    latitude, longitude = mask_centres()
    signed = np.where(longitude > 180.0, longitude - 360.0, longitude)
    is_land = globe.is_land(*np.meshgrid(latitude, signed, indexing="ij"))
    np.savez_compressed(path, packed=np.packbits(is_land), shape=np.array(MASK_SHAPE))


if __name__ == "__main__":
    make_land_mask(Path(sys.argv[1]) if len(sys.argv) > 1 else LAND_MASK_FILE)
