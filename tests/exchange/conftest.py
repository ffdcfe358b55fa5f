"""The files of a demo, for programs that know nothing of respeval; `make exchange` runs these tests.

Their environment has no respeval: what they say of a file, they read from it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

#: Files on a longitude-latitude grid, which CDO can work with; names within a demo's folder.
GRIDDED = (
    "forcing.nc",
    "initial.nc",
    "training.nc",
    "truth.nc",
    "response.nc",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--folder", type=Path, help="the folder of a demo, and of make_files.py")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every netCDF file of the folder, and every one with cells on a grid, is a test of its own."""
    folder = metafunc.config.getoption("--folder")
    for name, keeps in (("file", lambda path: True), ("gridded", is_gridded)):
        if name in metafunc.fixturenames:
            paths = [path for path in sorted(folder.rglob("*.nc")) if keeps(path)]
            names = [str(path.relative_to(folder)) for path in paths]
            metafunc.parametrize(name, paths, ids=names)


def is_gridded(path: Path) -> bool:
    return path.name in GRIDDED or "segments" in path.parts or "submission" in path.parts


@pytest.fixture(scope="session")
def folder(request: pytest.FixtureRequest) -> Path:
    found: Path = request.config.getoption("--folder")
    return found


@pytest.fixture(scope="session")
def run(folder: Path) -> Path:
    return folder / "runs" / "perturbed_sst"
