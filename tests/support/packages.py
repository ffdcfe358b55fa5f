"""Installed packages that bring something to respeval, and respeval in a process that finds them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.support import ROOT


def write_package(site: Path, name: str, source: str, group: str, **entries: str) -> None:
    """An installed package as the interpreter sees it: a module, and its metadata beside it."""
    site.mkdir(exist_ok=True)
    (site / f"{name}.py").write_text(source)
    metadata = site / f"{name}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [f"{entry} = {value}" for entry, value in entries.items()]
    (metadata / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines, ""]))


def package_of_page(page: Path) -> dict[str, str]:
    """The files of the package that a page of the docs shows, by the comment in their first line."""
    blocks = re.findall(r"```(?:toml|python)\n# (\S+)\n(.*?)```", page.read_text("utf-8"), re.S)
    return dict(blocks)


def respeval(
    site: Path, *arguments: object, options: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """A respeval command of its own, which finds the packages in a folder. options: Python's."""
    paths = [str(site), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.run(
        [sys.executable, *options, "-m", "respeval", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
    )
