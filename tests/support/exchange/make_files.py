"""Write what a demo does not: a probe, indices of SST, and a submission to AIMIP.

    python -m tests.support.exchange.make_files demo        (`make exchange` calls it)

They go to demo/exchange, which is made anew.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import xarray as xr

from tests.support import enso

#: January and February: two whole months of members.
STEPS, SAMPLES = 59, 2

#: Of a run whose SST has an El Niño; indices need two.
EL_NINO_YEARS = 3


#: Edges of the demo's eight layers as an ACE checkpoint would give them.
HYBRID_LEVELS = {
    "ap_Pa": [0.0, 5e3, 1.4e4, 2e4, 1.8e4, 1.2e4, 6e3, 2e3, 0.0],
    "b": [0.0, 0.0, 0.0, 0.1, 0.26, 0.48, 0.7, 0.89, 1.0],
}


def respeval(*words: object) -> None:
    command = [sys.executable, "-m", "respeval", *map(str, words)]
    print("respeval", *map(str, words), flush=True)
    subprocess.run(command, check=True, stdout=subprocess.PIPE)


def main(demo: Path) -> None:
    out = demo / "exchange"
    shutil.rmtree(out, ignore_errors=True)
    checkpoint = demo / "perturbed_sst.pt"
    arms = ("--arm", "none", "--arm", "per_sample")
    respeval("gradient-probe", checkpoint, *arms, "--batches", 2, "-o", out / "probe")
    xr.load_dataset(demo / "initial.nc").isel(sample=slice(SAMPLES)).to_netcdf(out / "few.nc")
    months = ("--steps", STEPS, "--spinup", "none", "--save-members")
    start = ("--initial-condition", out / "few.nc")
    respeval("run", checkpoint, *months, *start, "-o", out / "run")
    (out / "few.nc").unlink()
    names = ("--model", "Planet-1", "--institute", "Demo")
    manifest = out / "run" / "manifest.json"
    content = json.loads(manifest.read_text()) | {"hybrid_levels": HYBRID_LEVELS}
    manifest.write_text(json.dumps(content))
    respeval("diagnose", out / "run")
    respeval("export", "aimip", out / "run", *names, "-o", out / "submission")
    with tempfile.TemporaryDirectory() as study:
        finished = Path(study) / "out"
        respeval("run", enso.write_study(Path(study), EL_NINO_YEARS), "-o", finished)
        for name in ("indices.nc", "regressions.nc"):
            shutil.copy(finished / name, out)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
