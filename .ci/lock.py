"""Write requirements.lock: every package of the development environment at one exact version.

    python .ci/lock.py requirements.lock        (`make lock` calls it)

pip resolves what pyproject.toml asks for beside the two versions that are fixed here; nothing is
installed.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

TORCH = "2.13.0"
TORCH_HARMONICS = "0.9.3"

HEADER = f"""\
# The environment that `make` sets up, every package at one version. Written by `make lock`, which
# calls .ci/lock.py; do not edit. The Makefile tells how it is installed.
#
# torch {TORCH}: what everything here was tried with.
# torch-harmonics {TORCH_HARMONICS}: a wheel, so that nothing is built. Its metadata asks for torch 2.14
# but it works beside {TORCH}; that is why this file is installed with --no-deps.
# The CUDA libraries of a CUDA build of torch are chosen by torch itself and are not listed.
"""

# Asked for by torch's CUDA builds only, in versions that go with it.
CHOSEN_BY_TORCH = re.compile(r"nvidia-|cuda-|triton$")
# What hatchling needs for an editable respeval, and what builds torch-harmonics 0.8.0.
BUILD_TOOLS = ["editables", "setuptools", "setuptools-scm"]


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements(pyproject: Path) -> list[str]:
    """What pip can resolve: torch-harmonics would pull in a newer torch."""
    project = tomllib.loads(pyproject.read_text())["project"]
    asked = project["dependencies"] + project["optional-dependencies"]["dev"]
    kept = [line for line in asked if not line.startswith("torch-harmonics")]
    return [f"torch=={TORCH}", *kept, *BUILD_TOOLS]


def resolve(asked: list[str]) -> dict[str, str]:
    """Package name -> version, as pip would install `asked` into an empty environment."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    options = ["--dry-run", "--ignore-installed", "--report", "-"]
    report = subprocess.run([*pip, *options, *asked], check=True, stdout=subprocess.PIPE).stdout
    chosen = [entry["metadata"] for entry in json.loads(report)["install"]]
    # "2.13.0+cpu" is this machine's build of 2.13.0.
    return {normalized(entry["name"]): entry["version"].split("+")[0] for entry in chosen}


def main() -> None:
    versions = resolve(requirements(Path("pyproject.toml")))
    versions["torch-harmonics"] = TORCH_HARMONICS
    lines = [
        f"{name}=={version}"
        for name, version in sorted(versions.items())
        if not CHOSEN_BY_TORCH.match(name)
    ]
    Path(sys.argv[1]).write_text(HEADER + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
