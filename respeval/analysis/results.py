"""From the saved means of a run to its response, diagnostics, summary and figures; no model."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import xarray as xr
from pydantic import TypeAdapter, ValidationError

from respeval.analysis.folder import _TROPICS, told_quarantined, truth_of_folder
from respeval.analysis.indices import Modes, modes_of, remove_modes
from respeval.analysis.reference import compare_with, summary_of_reference
from respeval.analysis.remarks import remarks
from respeval.case.case import Sources
from respeval.diagnostics import (
    DiagnosticSettings,
    diagnose,
    response_maps,
    running,
    summary,
    with_hybrid_levels,
    with_period,
    years_summary,
)
from respeval.diagnostics.formulas.quantities import find_output
from respeval.diagnostics.numbers import indices_summary
from respeval.errors import InputError, unexpected
from respeval.fields.notices import Notices
from respeval.fields.variables import HybridLevels, Roles
from respeval.files.checksums import Verification
from respeval.files.netcdf import describe_file, open_saved, write_netcdf
from respeval.files.publish import make_inner_folder, remove_files, write_json
from respeval.plotting import Pictures
from respeval.run_folder.manifest import read_manifest, read_warnings
from respeval.run_folder.names import (
    DIAGNOSTICS_FILE,
    FIGURES,
    GROUP_MEANS,
    INDICES,
    REFERENCE,
    REGRESSIONS,
    RESPONSE,
    RUNNING,
    SUMMARY,
    WARNINGS,
    ZONAL,
)

#: What to do about a result that is none.
_ANEW = "remove it and give the run's command again, which makes it anew from the segments"


@dataclass(frozen=True)
class Results:
    """What the analysis of a run gives: diagnostics.nc's content and the figures' paths."""

    diagnostics: xr.Dataset
    figures: tuple[Path, ...]


def analyse(
    folder: Path,
    settings: DiagnosticSettings,
    reference: xr.Dataset | None = None,
    reference_name: str = "reference",
    sources: Sources | None = None,
    verification: Verification | None = None,
    tell: Callable[[str], None] | None = None,
) -> Results:
    """Write response.nc, diagnostics.nc, running.nc, indices.nc, regressions.nc, summary.json and the
    figures from the saved means.

    reference: diagnostics of a known response, drawn beside the run's under `reference_name`; the
        truth, where the folder holds it and nothing else is given.
    sources: what the response is held against in reference.nc, which is written only then.
    verification: of the folder's files. No file is opened before it is known to be whole, and nothing
        is written before all are.
    tell: called with what a figure, the truth or the sources fail by, which are left out then; without
        it that is raised, and the run's own results may not be written.
    """
    verification = verification or Verification(folder)
    notices = Notices(read_warnings(folder, read_manifest(folder)))
    if reference is None:
        known: xr.Dataset | None = None
        with _beside(tell, "the truth is not shown"):
            known = truth_of_folder(folder, settings)
        reference, reference_name = known, reference_name if known is None else "truth"
    verification.wait_for(ZONAL)
    with open_saved(folder / ZONAL) as zonal:
        _check_means(zonal, folder / ZONAL, ("group", "sample", "time", "surface", "lat"))
        diagnostics = diagnose(zonal, settings)
        told = remarks(zonal, diagnostics, settings)
        describe_file(diagnostics, zonal, "diagnostics of the response")
        diagnostics.attrs[_TROPICS] = settings.tropical_lat_max
        along = running(zonal, diagnostics, settings)
        describe_file(along, zonal, "diagnostics of the response against the length of the run")
        series = _shown_along(zonal, settings.roles).load()
    pictures = Pictures(settings.roles, reference, reference_name, tell)
    pictures.plan_diagnostics(series, diagnostics, along)
    pictures.draw(lambda: verification.is_told(GROUP_MEANS))
    verification.wait_for(GROUP_MEANS)
    with open_saved(folder / GROUP_MEANS) as group_means:
        _check_means(group_means, folder / GROUP_MEANS, ("group", "time", "lat", "lon"))
        response = response_maps(group_means)
        describe_file(response, group_means, "response of every output")
        response = with_period(response, group_means)
        verification.finish()
        modes = Modes(None, None, {})
        with _beside(tell, "there are no indices of SST"):
            modes = modes_of(folder, group_means, settings)
        agreement = None
        if sources is not None:
            with _beside(tell, "the response is not held against its reference"):
                agreement = hold_against(folder, response, group_means, sources, notices)
    for remark in told:
        notices.tell(remark)
    pictures.plan_maps(response, agreement)
    precipitation = find_output(map(str, response.data_vars), settings, "precipitation")
    pictures.plan_modes(modes.series, modes.maps, precipitation)
    # What is drawn meanwhile is in memory: netCDF is not to be called by two threads.
    with _netcdf_in_one_thread(), _short_turns(), ThreadPoolExecutor(1) as beside:
        written = beside.submit(
            _write, folder, response, diagnostics, along, modes, agreement, notices
        )
        pictures.draw()
        written.result()
    make_inner_folder(folder / FIGURES)
    figures = pictures.write(folder / FIGURES)
    return Results(diagnostics, tuple(figures))


@contextlib.contextmanager
def _beside(tell: Callable[[str], None] | None, what: str) -> Iterator[None]:
    """What goes wrong within is told, if there is whom to tell."""
    try:
        yield
    except Exception as error:
        if tell is None:
            raise
        reason = str(error) if isinstance(error, InputError) else unexpected(error)
        tell(f"{what}: {reason}")


@contextlib.contextmanager
def _netcdf_in_one_thread() -> Iterator[None]:
    """No file that garbage holds is closed by whichever thread the collector runs in."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextlib.contextmanager
def _short_turns() -> Iterator[None]:
    """Threads of Python code wait shorter for each other: one that writes does so thousands of times."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(2e-4)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


def _shown_along(zonal: xr.Dataset, roles: Roles) -> xr.Dataset:
    """What the figures show of zonal.nc."""
    names = [roles.near_surface_temperature, "area", "count", "time_bnds"]
    return zonal[[name for name in names if name in zonal]]


def _write(
    folder: Path,
    response: xr.Dataset,
    diagnostics: xr.Dataset,
    along: xr.Dataset,
    modes: Modes,
    agreement: xr.Dataset | None,
    notices: Notices,
) -> None:
    """The results but the figures and reference.nc."""
    if agreement is None:
        remove_reference(folder)
    write_netcdf(response, folder / RESPONSE)
    write_netcdf(with_hybrid_levels(diagnostics, _hybrid_levels(folder)), folder / DIAGNOSTICS_FILE)
    write_netcdf(along, folder / RUNNING)
    remove_modes(folder, modes)
    for found, name in ((modes.series, INDICES), (modes.maps, REGRESSIONS)):
        if found is not None:
            write_netcdf(found, folder / name)
    numbers = summary_of_reference(agreement) if agreement is not None else {}
    told = told_quarantined(folder)
    write_json(
        folder / SUMMARY,
        {
            **summary(diagnostics),
            **years_summary(along),
            **({} if modes.series is None else indices_summary(modes.series)),
            **numbers,
            **({"quarantined": told} if told else {}),
            **({WARNINGS: list(notices.texts)} if notices.texts else {}),
        },
    )


def hold_against(
    folder: Path, response: xr.Dataset, means: xr.Dataset, sources: Sources, notices: Notices
) -> xr.Dataset:
    """Write reference.nc, and return its content; tells of what is noticed in the references."""
    agreement = with_period(compare_with(folder, response, sources, notices), means)
    told = dict(agreement.attrs)
    describe_file(agreement, means, "agreement of the response with a reference")
    agreement.attrs |= told
    write_netcdf(agreement, folder / REFERENCE)
    return agreement


def remove_reference(folder: Path) -> None:
    """Remove what an earlier analysis told of a reference."""
    figures = (folder / FIGURES / f"reference.{kind}" for kind in ("png", "pdf"))
    remove_files([folder / REFERENCE, *figures])


def _hybrid_levels(folder: Path) -> HybridLevels | None:
    """The layers' edges as the manifest has them; None where it has none, or what are none."""
    try:
        found = TypeAdapter(HybridLevels | None).validate_python(
            read_manifest(folder).get("hybrid_levels")
        )
    except ValidationError:
        return None
    return found if found is not None and len(found.ap_Pa) == len(found.b) else None


def _check_means(means: xr.Dataset, path: Path, dims: tuple[str, ...]) -> None:
    """Raise InputError where a file of means is not what a run writes: its axes, its numbers.

    dims: of each output.
    """
    for name in dims:
        if name not in means.coords or means[name].dims != (name,):
            raise InputError(f"{path} has no coordinate {name!r}; {_ANEW}")
    for variable in means.drop_vars(
        ["start_date", "time_bnds"], errors="ignore"
    ).data_vars.values():
        if variable.dtype.kind not in "fiub":
            raise InputError(f"{path}: {variable.name} holds no numbers; {_ANEW}")
    if not any(set(variable.dims) == set(dims) for variable in means.data_vars.values()):
        raise InputError(f"{path} has no output of an emulator; {_ANEW}")
