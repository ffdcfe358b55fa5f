"""`respeval.open`: what a run's folder holds, as xarray, texts and figures."""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import xarray as xr

from respeval.analysis.folder import (
    TRUTH,
    settings_of_folder,
    truth_of_folder,
    warnings_of_folder,
)
from respeval.api.plots import RunPlots
from respeval.api.view import run_view
from respeval.case.case import Case
from respeval.case.file import load_case
from respeval.diagnostics import DiagnosticSettings
from respeval.errors import InputError
from respeval.files.netcdf import open_saved
from respeval.files.text import parse_json, read_document
from respeval.loss_probe.files import PROFILE
from respeval.presentation.console.tables import show_table
from respeval.run_folder.manifest import read_manifest, read_segments
from respeval.run_folder.names import (
    CASE,
    DIAGNOSTICS_FILE,
    FIGURES,
    GROUP_MEANS,
    INDICES,
    MANIFEST,
    REFERENCE,
    REGRESSIONS,
    RESPONSE,
    RUNNING,
    SUMMARY,
    ZONAL,
)
from respeval.run_folder.sweep import holds_sweep, read_entries

#: How terminals are told of colours and bold letters.
_STYLES = re.compile(r"\x1b\[[0-9;]*m")


class Run:
    """A run's folder, finished or not.

    Datasets are opened when they are first asked for, and their numbers read when they are used; where a
    run has gone on meanwhile, the next use opens the new file. Shapes and units: docs/files.md, and every
    variable's attributes. A file that is not there is an InputError that says why.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._opened: dict[str, tuple[tuple[int, ...], xr.Dataset]] = {}

    @property
    def manifest(self) -> dict[str, Any]:
        """manifest.json: what was run, with which versions, and how far it has come."""
        return read_manifest(self.folder)

    @property
    def status(self) -> str:
        """`running`, `stopped`, `failed` or `finished`."""
        return str(self.manifest.get("status", "unknown"))

    @property
    def case(self) -> Case:
        """What the run was asked for."""
        return load_case(self.folder / CASE, {}, takes_options=False)

    @property
    def settings(self) -> DiagnosticSettings:
        """Bands, roles and all else that defines the diagnostics."""
        return settings_of_folder(self.folder, {})

    @property
    def diagnostics(self) -> xr.Dataset:
        """Every diagnostic with its interval, (perturbation[, band, level, …])."""
        return self._dataset(DIAGNOSTICS_FILE)

    @property
    def response(self) -> xr.Dataset:
        """Maps of the response of every output, (perturbation, lat, lon), in the output's units."""
        return self._dataset(RESPONSE)

    @property
    def zonal(self) -> xr.Dataset:
        """Means of every segment over circles of latitude, (group, sample, time, surface, lat)."""
        return self._dataset(ZONAL)

    @property
    def group_means(self) -> xr.Dataset:
        """Mean maps of every segment over the samples, (group, time, lat, lon)."""
        return self._dataset(GROUP_MEANS)

    @property
    def running(self) -> xr.Dataset:
        """Diagnostics and their intervals against the length of the run, (perturbation, time, …)."""
        return self._dataset(RUNNING)

    @property
    def indices(self) -> xr.Dataset:
        """Indices of SST; of runs of a year and more."""
        return self._dataset(INDICES)

    @property
    def regressions(self) -> xr.Dataset:
        """Regressions of every output on Niño 3.4, (group, lat, lon)."""
        return self._dataset(REGRESSIONS)

    @property
    def reference(self) -> xr.Dataset:
        """How the response agrees with its reference, where the run has one."""
        return self._dataset(REFERENCE)

    @property
    def truth(self) -> xr.Dataset | None:
        """Maps of the true response, as in `response`, where it is known; of a demo's runs."""
        return self._dataset(TRUTH) if (self.folder / TRUTH).is_file() else None

    @property
    def known(self) -> xr.Dataset | None:
        """Diagnostics of the truth, as in `diagnostics`."""
        return truth_of_folder(self.folder, self.settings)

    @property
    def segments(self) -> tuple[xr.Dataset, ...]:
        """Means of the segments so far, spin-up included, file by file; there from the first one on."""
        entries = read_segments(self.folder, self.manifest)
        return tuple(self._dataset(str(entry["file"])) for entry in entries)

    @property
    def summary(self) -> dict[str, Any]:
        """summary.json: numbers by `LABEL/NAME[/PLACE]`, with their standard errors and intervals."""
        self._check_there(SUMMARY)
        try:
            content = parse_json(read_document(self.folder / SUMMARY, "summary"))
        except ValueError as error:
            raise InputError(f"{self.folder / SUMMARY} can't be read ({error})") from None
        return dict(content)

    @property
    def warnings(self) -> list[str]:
        """What the run warns of."""
        return warnings_of_folder(self.folder) or list(self.manifest.get("warnings", []))

    @property
    def figures(self) -> dict[str, Path]:
        """Name of every figure that the run drew -> its PNG; a PDF lies beside it."""
        return {path.stem: path for path in sorted((self.folder / FIGURES).glob("*.png"))}

    @property
    def plot(self) -> RunPlots:
        """The figures, drawn anew as matplotlib's."""
        return RunPlots(self)

    def table(self, everything: bool = False) -> str:
        """The tables that `respeval run` shows, or with all diagnostics, as text."""
        self._check_there(DIAGNOSTICS_FILE)
        return text_of(lambda: show_table(self.folder, self.settings if everything else None))

    def close(self) -> None:
        """Close all files; what is used later is opened again."""
        for _, dataset in self._opened.values():
            dataset.close()
        self._opened.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        try:
            return f"<respeval run {self.folder}: {self.status}>"
        except InputError:
            return f"<respeval run {self.folder}: not there>"

    def _repr_html_(self) -> str:
        return run_view(self.folder, repr(self))

    def _dataset(self, name: str) -> xr.Dataset:
        path = self.folder / name
        self._check_there(name)
        stat = path.stat()
        this = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
        held = self._opened.get(name)
        if held is None or held[0] != this:
            held = self._opened[name] = this, open_saved(path)
        return held[1]

    def _check_there(self, name: str) -> None:
        """Raise InputError that says why a file is not there."""
        if (self.folder / name).is_file():
            return
        manifest = self.manifest
        status, reason = manifest.get("status", "unknown"), manifest.get("reason")
        if status == "finished":
            raise InputError(f"{self.folder} has no {name}: this run gave none")
        why = f" ({reason})" if reason else ""
        raise InputError(
            f"{self.folder} has no {name} yet: its status is {status}{why}; `segments` has the means so far, "
            "and the same run into this folder goes on"
        )


@dataclass(frozen=True)
class Sweep:
    """Runs of several checkpoints: those that finished, in order, and why others failed, by name."""

    folder: Path
    runs: tuple[Run, ...]
    failed: Mapping[str, str]

    def __iter__(self) -> Iterator[Run]:
        return iter(self.runs)

    def __len__(self) -> int:
        return len(self.runs)

    def __getitem__(self, name: str) -> Run:
        """The run of this name, that of its folder in the sweep's."""
        for run in self.runs:
            if run.folder.name == name:
                return run
        raise KeyError(name)

    def __repr__(self) -> str:
        told = f", {len(self.failed)} failed" if self.failed else ""
        return f"<respeval sweep {self.folder}: {len(self.runs)} runs{told}>"


def open_run(folder: str | os.PathLike[str]) -> Run:
    """The run in a folder, whether it has finished or not; nothing is read yet.

    Raises InputError where the folder holds no run.
    """
    path = Path(folder)
    if not path.is_dir():
        raise InputError(f"{path}: no such folder")
    if holds_sweep(path):
        names = ", ".join(str(entry["folder"]) for entry in read_entries(path))
        raise InputError(f"{path} holds the runs of a sweep: open one of them ({names})")
    if (path / PROFILE).is_file() and not (path / MANIFEST).is_file():
        raise InputError(f"{path} holds a gradient probe: open it as respeval.Probe({str(path)!r})")
    read_manifest(path)
    return Run(path)


def text_of(show: Callable[[], None]) -> str:
    """What a function shows, as plain text, whatever a notebook or its variables say of colours."""
    with contextlib.redirect_stdout(io.StringIO()) as text:
        show()
    return _STYLES.sub("", text.getvalue())
