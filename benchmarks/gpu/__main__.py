"""Check and measure respeval on a CUDA device, and write docs/benchmarks_gpu.md after each part.

python -m benchmarks.gpu                               all parts, in at most eight minutes
python -m benchmarks.gpu --parts overhead,noise        these two
python -m benchmarks.gpu --rehearse                    without a device: the parts' code, on the CPU
python -m benchmarks.gpu --write-page                  the page alone, from what is kept
"""

from __future__ import annotations

import sys
from importlib.util import find_spec

#: What an environment must have; respeval itself comes from where this lies.
NEEDED = (
    *("torch", "torch_harmonics", "numpy", "scipy", "xarray", "netCDF4", "cftime", "dask"),
    *("pydantic", "typer", "rich", "matplotlib", "jinja2", "yaml", "pytest"),
)


def main() -> int:
    lacking = [name for name in NEEDED if find_spec(name) is None]
    if lacking:
        print(f"{sys.prefix} lacks {', '.join(lacking)}: nothing is measured", file=sys.stderr)
        return 2
    from benchmarks.gpu import driver  # which imports them

    return driver.main(__doc__.splitlines()[0])


if __name__ == "__main__":
    sys.exit(main())
