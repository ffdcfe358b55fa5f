"""`respeval.probe`: how much gradient each degree's filter weights get, from Python."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

import torch
import xarray as xr

from respeval.api.plots import shown_in_notebooks
from respeval.api.untouched import as_before, comm_for, evaluated, network_of
from respeval.api.view import page, view_of
from respeval.case.parsing import check_at_least_one, parse_parts
from respeval.checkpoints import Checkpoint, InMemory
from respeval.distributed.comm import Comm
from respeval.emulator.contract import Emulator
from respeval.errors import InputError, SharedInputError, StoppedError, enough_memory
from respeval.files.netcdf import open_saved
from respeval.files.settings import unknown_key
from respeval.files.text import parse_json, read_document
from respeval.loss_probe.files import PROFILE
from respeval.loss_probe.options import LOSS, SETTINGS
from respeval.loss_probe.plan import ProbePlan, check_probe_split, parse_settings, prepare_probe
from respeval.loss_probe.probing import ProbeReporter, own_folder, run_probe, write_probe
from respeval.plan.execution import Threads
from respeval.plotting import gradient_profile
from respeval.presentation.report.probes import probe_section
from respeval.run_folder.names import SUMMARY, WARNINGS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class ProbeWish:
    """What a user asks of a gradient probe, checkpoint and folder apart.

    data: states; default: those that `case`, the case file, names. arms: as texts. settings: fields
    of `ProbeSettings`. loss: fields of `LossWeights`, or else loss_config, the file of a training's
    loss. reader: options of the checkpoint's reader, which win over the case's. spatial: parts of fields
    in latitude and longitude.
    """

    data: str | None = None
    case: Path | None = None
    arms: Sequence[str] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    loss: Mapping[str, Any] = field(default_factory=dict)
    loss_config: Path | None = None
    device: str | None = None
    threads: int | None = None
    reader: Mapping[str, Any] = field(default_factory=dict)
    trust: bool = False
    dry_run: bool = False
    spatial: tuple[int, int] | None = None

    def plan(self, checkpoint: Checkpoint) -> ProbePlan:
        """The plan of a checkpoint's probe. Raises InputError in one line."""
        settings = parse_settings(self.arms, self.loss, self.settings, self.loss_config)
        return prepare_probe(checkpoint, settings, self.data, self.case, self.reader, self.trust)


class Probe:
    """A gradient probe's folder. Raises InputError where it holds none.

    profile: gradient_profile.nc, opened lazily or in memory: `grad_rms` (arm, layer, degree) and what
    docs/files.md tells of; all of unit 1. summary: numbers by arm. warnings: texts.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.profile: xr.Dataset = open_saved(self.folder / PROFILE)
        try:
            content = parse_json(read_document(self.folder / SUMMARY, "summary"))
        except ValueError as error:
            raise InputError(f"{self.folder / SUMMARY} can't be read ({error})") from None
        self.warnings = [str(text) for text in content.get(WARNINGS, [])]
        self.summary: dict[str, Any] = {k: v for k, v in content.items() if k != WARNINGS}
        self._html = ""

    @classmethod
    def in_memory(cls, folder: Path) -> Probe:
        """With all that it has read, so that the folder may go."""
        found = cls(folder)
        with found.profile as opened:
            found.profile = opened.load()
        found._html = found._repr_html_()
        return found

    @property
    def plot(self) -> ProbePlots:
        """The figure, as matplotlib's."""
        return ProbePlots(self)

    def __repr__(self) -> str:
        arms = ", ".join(map(str, self.profile["arm"].values))
        return f"<respeval probe of {self.profile.attrs.get('checkpoint', '?')}, arms {arms}>"

    def _repr_html_(self) -> str:
        if self._html:
            return self._html
        try:
            return view_of(probe_section(self.folder), repr(self), self.folder)
        except InputError as error:
            return page(repr(self), warnings=[str(error)])


class ProbePlots:
    """A probe's figure, a matplotlib Figure of its own, without pyplot."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe

    def gradient_profile(self) -> Figure:
        """The gradient per weight by degree, and how the arms differ."""
        return shown_in_notebooks(gradient_profile(self._probe.profile))


class ProbeKeys(TypedDict, total=False):
    """Sizes of a probe and parts of its loss; None is not given. See `respeval gradient-probe --help`."""

    filters: str | None
    num_batches: int | None
    batch_size: int | None
    num_members: int | None
    input_noise: float | None
    seed: int | None
    crps: float | None
    energy_score: float | None
    finite_difference_crps: float | None
    finite_difference_levels: int | None
    alpha: float | None


def probe(
    checkpoint: str | os.PathLike[str] | Emulator,
    *,
    data: str | os.PathLike[str] | None = None,
    case: str | os.PathLike[str] | None = None,
    output: str | os.PathLike[str] | None = None,
    arms: Sequence[str] | None = None,
    loss_config: str | os.PathLike[str] | None = None,
    reader: Mapping[str, Any] | None = None,
    least_memory: bool = False,
    device: Literal["cpu", "cuda"] | None = None,
    threads: int | None = None,
    spatial: str | tuple[int, int] | None = None,
    trust: bool = False,
    **keys: Unpack[ProbeKeys],
) -> Probe:
    """Measure how much gradient each spherical-harmonic degree's filter weights get.

    checkpoint: a file, or an emulator in memory that is a torch module; its weights, gradients and
        training mode stay as they are.
    data: consecutive states; default: `probe_data` of the case file.
    output: folder of the results; without it they are in memory alone, and there is one process.
    arms: variants of the loss as texts, such as "per_sample:gamma=0.5".
    least_memory: as --checkpoint-activations. All else as the options of `respeval gradient-probe`.
    Nothing is printed. Where there are several processes, all of them call it.
    Raises InputError for whatever the arguments or files have wrong.
    """
    check_at_least_one("threads", threads)
    parts = "x".join(map(str, spatial)) if isinstance(spatial, tuple) else spatial
    settings, loss = _settings(keys)
    if least_memory:
        settings["recompute"] = "trajectories"
    wish = ProbeWish(
        data=None if data is None else os.fspath(data),
        case=None if case is None else Path(case),
        arms=arms,
        settings=settings,
        loss=loss,
        loss_config=None if loss_config is None else Path(loss_config),
        device=device,
        threads=threads,
        reader=reader or {},
        trust=trust,
        spatial=parse_parts("spatial", parts),
    )
    is_path = isinstance(checkpoint, str | os.PathLike)
    source: Checkpoint = Path(checkpoint) if is_path else InMemory(checkpoint)  # type: ignore[arg-type]
    with as_before(), evaluated(source), _gradients_kept(source), enough_memory():
        comm = comm_for(source, wish.device)
        try:
            found = _probe(source, None if output is None else Path(output), wish, comm)
        except (SharedInputError, StoppedError):
            comm.close()  # all processes are here
            raise
        comm.close()
    return found


def _settings(keys: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fields of `ProbeSettings` and of the loss."""
    sizes, parts = {option.key: option for option in SETTINGS}, {option.key for option in LOSS}
    settings = {key: option.default for key, option in sizes.items() if option.default is not None}
    loss: dict[str, Any] = {}
    for name, value in keys.items():
        if name not in (*sizes, *parts):
            raise InputError(f"probe: {unknown_key([name], [*sizes, *parts])}")
        if value is not None:
            target = settings if name in sizes else loss
            target[name] = sizes[name].read(value) if name in sizes else value
    return settings, loss


def _probe(source: Checkpoint, output: Path | None, wish: ProbeWish, comm: Comm) -> Probe:
    if output is None and comm.num_processes > 1:
        raise SharedInputError("output: several processes need a folder for the results; name one")
    if wish.spatial is not None:
        if isinstance(source, InMemory):
            raise SharedInputError(
                f"spatial changes a network for good, and {source} is to stay as it is: leave it out, or "
                "save a checkpoint and probe that"
            )
        comm = comm.split(*wish.spatial)
    threads = Threads(wish.threads)
    plan = comm.together(lambda: wish.plan(source))
    comm.together(lambda: check_probe_split(plan, comm.mesh.height, comm.mesh.width))
    threads.choose(plan.emulator.spec, comm)
    with tempfile.TemporaryDirectory() as temporary:
        folder = output or Path(temporary)
        with own_folder(folder, plan, comm):
            sums = run_probe(plan, comm, ProbeReporter())
            comm.on_root(lambda: bool(write_probe(plan, sums, folder)))
        return Probe(output) if output is not None else Probe.in_memory(Path(temporary))


@contextlib.contextmanager
def _gradients_kept(checkpoint: Checkpoint) -> Iterator[None]:
    """Gradients that a network in memory holds are the same objects and numbers afterwards."""
    network = network_of(checkpoint)
    if network is None:
        yield
        return
    before = [(weight, weight.grad) for weight in network.parameters()]
    try:
        for weight, _ in before:
            weight.grad = None
        with torch.enable_grad():
            yield
    finally:
        for weight, gradient in before:
            weight.grad = gradient
