"""Check what `make package` has built: the wheel and the sdist hold what they should, and the wheel runs.

    python .ci/check_package.py dist

The interpreter has respeval's dependencies.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

#: What a wheel has beside modules, and what it must not have.
SHIPPED = (
    "respeval/py.typed",
    "respeval/planet/land_mask.npz",
    "respeval/planet/checkpoints/present_day.pt",
    "respeval/planet/checkpoints/perturbed_sst.pt",
)
SOURCES = ("LICENSE", "README.md", "CHANGELOG.md", ".ci/readme.py", "docs/index.md", "Makefile")


def data_files(root: Path) -> set[str]:
    """What respeval/ holds in the repository beside modules and caches, relative to its root."""
    files = {path for path in (root / "respeval").rglob("*") if path.is_file()}
    return {
        str(path.relative_to(root))
        for path in files
        if path.suffix not in (".py", ".pyc") and not path.name.startswith(".")
    }


def check_wheel(wheel: Path, root: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    missing = (data_files(root) | set(SHIPPED)) - names
    strange = {n.split("/")[0] for n in names} - {
        "respeval",
        wheel.name.rsplit("-", 3)[0] + ".dist-info",
    }
    if missing or strange:
        sys.exit(f"{wheel.name}: missing {sorted(missing)}, strange {sorted(strange)}")


def check_sdist(sdist: Path) -> None:
    with tarfile.open(sdist) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    if missing := set(SOURCES) - names:
        sys.exit(f"{sdist.name}: missing {sorted(missing)}")


def check_command(wheel: Path) -> None:
    """The wheel's own console script says its version, away from the repository."""
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
        subprocess.run([*pip, "--no-deps", "--target", folder, str(wheel)], check=True)
        environment = {**os.environ, "PYTHONPATH": folder}
        command = [f"{folder}/bin/respeval", "--version"]
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=True
        )
        where = [sys.executable, "-c", "import respeval; print(respeval.__file__)"]
        found = subprocess.check_output(where, cwd=folder, env=environment, text=True)
        version = wheel.name.split("-")[1]
        if done.stdout.strip() != f"respeval {version}" or not found.startswith(folder):
            sys.exit(f"{wheel.name}: respeval --version says {done.stdout!r}, from {found}")
        print(f"{wheel.name} says {done.stdout.strip()}")


def main() -> None:
    dist = Path(sys.argv[1]).resolve()
    root = Path(__file__).resolve().parents[1]
    [wheel], [sdist] = dist.glob("*.whl"), dist.glob("*.tar.gz")
    check_wheel(wheel, root)
    check_sdist(sdist)
    check_command(wheel)


if __name__ == "__main__":
    main()
