"""Exported programs step, run and are probed as the models that they were made from."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
import yaml
from torch import nn

from respeval.checkpoints import checkpoint_digest, open_checkpoint
from respeval.checkpoints.exported.reader import ExportedEmulator, save_exported
from respeval.checkpoints.native import NativeEmulator, load_checkpoint, save_checkpoint
from respeval.errors import InputError
from respeval.fields.grid import Grid
from respeval.planet import SHIPPED_CHECKPOINTS, shipped_checkpoint
from respeval.planet.datasets import make_forcing, make_initial_conditions, make_record
from tests.support import ROOT, studies
from tests.support.archives import edit, members_of, write_archive
from tests.support.inputs import inputs, noise
from tests.support.invoking import invoke, refused
from tests.support.studies import GRID

CHANNELS = (5, 4)


class Convolution(nn.Module):
    """A network that respeval does not know."""

    def __init__(self, num_inputs: int = CHANNELS[0], num_outputs: int = CHANNELS[1]) -> None:
        super().__init__()
        self.first = nn.Conv2d(num_inputs, 8, 3, padding="same", padding_mode="circular")
        self.last = nn.Conv2d(8, num_outputs, 1)

    def forward(self, fields: torch.Tensor) -> torch.Tensor:
        hidden = nn.functional.gelu(self.first(fields))
        result: torch.Tensor = self.last(hidden)
        return result


def export(path: Path, network: nn.Module | None = None, **changes: Any) -> Path:
    """A small network as a checkpoint."""
    torch.manual_seed(0)
    save_exported(path, network or Convolution(), studies.export_manifest(**changes))
    return path


def export_by_hand(path: Path, network: nn.Module, example: Any, **options: Any) -> Path:
    """As a user would without respeval, who may do it wrongly."""
    arguments = example if isinstance(example, tuple) else (example,)
    torch.export.save(torch.export.export(network, arguments, **options), path)
    manifest = studies.export_manifest().model_dump_json(exclude_unset=True)
    path.with_suffix(".json").write_text(manifest)
    return path


def fields(num_members: int = 2, grid: Grid = GRID) -> torch.Tensor:
    return torch.randn(num_members, CHANNELS[0], *grid.shape)


def step(emulator: Any, num_members: int = 3) -> torch.Tensor:
    with torch.no_grad():
        result: torch.Tensor = emulator.step(*inputs(num_members), noise(*range(num_members)))
    return result


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"prediction": "residual"},
        {"climatology": ["skin", "rain"]},
        {"split_surface_temperature": True, "num_noise_channels": 2},
    ],
    ids=["plain", "residual", "climatology", "split and noise"],
)
def test_an_exported_network_steps_as_the_native_one(tmp_path: Path, changes: Any) -> None:
    native = NativeEmulator(studies.manifest(**changes)).eval()
    for mean in native.climatology.values():
        mean.data.copy_(torch.rand(GRID.shape))
    save_checkpoint(tmp_path / "model.pt", native)
    path = studies.export_native(tmp_path / "model.pt", tmp_path / "model.pt2")
    exported = open_checkpoint(path, {})
    assert torch.equal(step(exported), step(native))
    assert not torch.equal(step(exported)[0], step(exported)[1])
    loaded = load_checkpoint(tmp_path / "model.pt").spec
    for name, (mean, scale) in loaded.normalization.items():
        assert scale == exported.spec.normalization[name][1]
        np.testing.assert_array_equal(mean, exported.spec.normalization[name][0])


@pytest.fixture(scope="module")
def planet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped checkpoints, native and exported, with a forcing, states and training data."""
    folder = tmp_path_factory.mktemp("planet")
    grid = Grid.legendre_gauss(24, 48)
    forcing = make_forcing(grid, 1)
    forcing.isel(time=slice(0, 25)).to_netcdf(folder / "forcing.nc")
    make_initial_conditions(forcing, 2).to_netcdf(folder / "initial.nc")
    make_record(grid, 12).to_netcdf(folder / "training.nc")
    case = {
        "forcing": "forcing.nc",
        "initial_condition": "initial.nc",
        "steps": 20,
        "segment": "10 steps",
        "perturbations": {"p4K": {"type": "uniform", "amplitude_K": 4.0}},
        "probe_data": "training.nc",
    }
    (folder / "case.yaml").write_text(yaml.safe_dump(case))
    for name in SHIPPED_CHECKPOINTS:
        shutil.copyfile(shipped_checkpoint(name), folder / f"{name}.pt")
        studies.export_native(folder / f"{name}.pt", folder / f"{name}.pt2")
    return folder


@pytest.mark.parametrize("name", SHIPPED_CHECKPOINTS)
def test_a_run_of_an_exported_checkpoint_is_that_of_the_checkpoint(planet: Path, name: str) -> None:
    means = []
    for ending in ("pt", "pt2"):
        out = planet / f"run-{name}-{ending}"
        invoke("run", planet / f"{name}.{ending}", "-o", out)
        with xr.open_dataset(out / "group_means.nc", decode_times=False) as opened:
            means.append(opened.load())
    variables = [n for n in means[0].data_vars if "lat" in means[0][n].dims]
    assert len(variables) > 10
    for variable in variables:
        np.testing.assert_allclose(means[1][variable], means[0][variable], rtol=1e-6)
    assert abs(means[0]["air_temperature_7"].diff("group")).max() > 0.1


@pytest.mark.parametrize("name", SHIPPED_CHECKPOINTS)
def test_the_gradient_of_an_exported_checkpoint_is_that_of_the_checkpoint(
    planet: Path, name: str
) -> None:
    profiles = []
    for ending in ("pt", "pt2"):
        out = planet / f"probe-{name}-{ending}"
        options = ("--batches", 2, "--batch-size", 3)
        invoke("gradient-probe", planet / f"{name}.{ending}", *options, "-o", out)
        with xr.open_dataset(out / "gradient_profile.nc") as opened:
            profiles.append(opened.load())
    native, exported = profiles
    assert exported["layer"].values.tolist() == native["layer"].values.tolist()
    assert len(native["layer"]) == 2
    for variable in ("grad_rms", "grad_snr", "weight_rms", "loss"):
        assert float(native[variable].max()) > 0
        np.testing.assert_allclose(exported[variable], native[variable], rtol=1e-5)


def test_inspect_shows_the_same_page_as_of_a_native_checkpoint(planet: Path) -> None:
    native = invoke("inspect", planet / "present_day.pt").replace(
        "present_day.pt", "present_day.pt2"
    )
    exported = invoke("inspect", planet / "present_day.pt2")
    more = [line for line in exported.splitlines() if line not in native.splitlines()]
    assert [line.split()[1] for line in more if line.split()[1] != "│"] == ["split", "batches"]
    assert "batches of the network" in more[-1]
    assert "network.blocks.0.global_conv.weight" in exported


class Shared(Convolution):
    """Weights that lie transposed and in a part of a larger memory, a constant, and one weight twice."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.turned = nn.Parameter(torch.rand(3, 5).T)
        self.part = nn.Parameter(torch.rand(20)[4:12:2])
        self.again = self.part
        self.fixed = torch.rand(7)

    def forward(self, fields: torch.Tensor) -> torch.Tensor:
        shift = self.turned[1, 2] + self.part.sum() + self.again[1] + self.fixed.sum()
        return super().forward(fields) + shift  # type: ignore[no-any-return]


@pytest.mark.filterwarnings("ignore:No complete tensor found")
def test_every_tensor_gets_its_own_numbers_or_none_in_the_memory_of_one(tmp_path: Path) -> None:
    network = Shared().eval()
    path = export(tmp_path / "model.pt2", network)
    emulator: Any = open_checkpoint(path, {})
    assert torch.equal(emulator.network.turned, network.turned)
    assert torch.equal(emulator.network.part, network.part)
    inputs = torch.rand(2, emulator.manifest.num_network_inputs(), *emulator.spec.grid.shape)
    with torch.inference_mode():
        assert torch.equal(emulator.network(inputs), network(inputs))
    shapes: Any = open_checkpoint(path, {}, with_weights=False)
    for weight, shaped in zip(
        emulator.network.parameters(), shapes.network.parameters(), strict=True
    ):
        assert (weight.shape, weight.dtype) == (shaped.shape, shaped.dtype)
        assert shaped.untyped_storage().nbytes() <= 16


def test_it_opens_without_the_library_of_the_model(tmp_path: Path) -> None:
    native = studies.checkpoint(tmp_path / "model.pt")
    path = studies.export_native(native, tmp_path / "model.pt2")
    script = (
        "import sys\n"
        "sys.modules['torch_harmonics'] = None\n"
        "from pathlib import Path\n"
        "from respeval.checkpoints import open_checkpoint\n"
        "import torch\n"
        f"emulator = open_checkpoint(Path({str(path)!r}), {{}})\n"
        f"fields = torch.full((2, 3, {GRID.num_lat}, {GRID.num_lon}), 280.0)\n"
        "print(emulator.step(fields, fields, fields, None).mean().item())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert np.isfinite(float(done.stdout))


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ({}, "of 4 only"),
        ({0: torch.export.Dim("batch", min=3, max=4)}, "of 3 to 4"),
        ({0: torch.export.Dim("batch", max=2)}, "of 1 to 2"),
        ({0: torch.export.Dim.AUTO}, "any size"),
        ({0: torch.export.Dim("batch")}, "any size"),
    ],
)
def test_batches_of_other_sizes_are_split_and_filled_up(
    tmp_path: Path, sizes: Any, expected: str
) -> None:
    whole = open_checkpoint(export(tmp_path / "whole.pt2"), {})
    torch.manual_seed(0)
    shapes = {"dynamic_shapes": (sizes,)} if sizes else {}
    num_members = 2 if sizes.get(0) is not None and expected == "of 1 to 2" else 4
    path = export_by_hand(tmp_path / "model.pt2", Convolution(), fields(num_members), **shapes)
    emulator: Any = open_checkpoint(path, {})
    assert emulator.spec.description["batches of the network"].startswith(expected)
    for count in (1, 2, 3, 4, 5, 7, 9):
        assert torch.allclose(step(emulator, count), step(whole, count), rtol=1e-6)


class Doubles(nn.Module):
    def forward(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return one[:, :4] + other[:, :4]


class Pair(nn.Module):
    def forward(self, fields: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return fields[:, :4], fields[:, 4:]


class Listed(nn.Module):
    def forward(self, fields: list[torch.Tensor]) -> torch.Tensor:
        return fields[0][:, :4] * 2


class Flat(nn.Module):
    def forward(self, fields: torch.Tensor) -> torch.Tensor:
        return fields[:, :4].flatten(2) * 2


class First(nn.Module):
    def forward(self, fields: torch.Tensor) -> torch.Tensor:
        return fields[:1, :4] * 2


SMALLER = Grid.legendre_gauss(6, 16)
SHAPES: list[tuple[str, nn.Module, Any, str]] = [
    (
        "channels",
        Convolution(7),
        torch.zeros(2, 7, *GRID.shape),
        r"its input has shape \[2, 7, 8, 16\]; its "
        r"manifest asks for 5 channels \(3 prognostic \+ 2 forcing\)",
    ),
    (
        "outputs",
        Convolution(5, 3),
        fields(),
        r"asks for 4 channels \(3 prognostic \+ 1 diagnostic\)",
    ),
    ("grid", Convolution(), fields(grid=SMALLER), "its manifest asks for 8 latitudes"),
    (
        "double",
        Convolution().double(),
        fields().double(),
        r"its input is torch\.float64, expected torch\.float32",
    ),
    ("two inputs", Doubles(), (fields(), fields()), "takes 2 and gives 1 values"),
    ("two outputs", Pair(), fields(), "takes 1 and gives 2 values"),
    ("a list", Listed(), ([fields()],), "takes or gives them in containers"),
    ("flat", Flat(), fields(), "its output has 3 dimensions; expected a tensor"),
    ("one member", First(), fields(), "its output has another batch size than its input"),
]


@pytest.mark.parametrize(
    ("network", "example", "message"), [s[1:] for s in SHAPES], ids=[s[0] for s in SHAPES]
)
def test_a_network_that_does_not_fit_its_manifest_is_refused(
    tmp_path: Path, network: nn.Module, example: Any, message: str
) -> None:
    path = export_by_hand(tmp_path / "model.pt2", network, example)
    with pytest.raises(InputError, match=message) as found:
        open_checkpoint(path, {})
    assert "\n" not in str(found.value)
    assert str(path) in str(found.value)
    if "containers" not in message and "values" not in message:
        with pytest.raises(InputError, match=message):
            open_checkpoint(path, {}, trust=True)


class Counts(nn.Module):
    """Adds to a buffer at every step."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("steps", torch.zeros(1))

    def forward(self, fields: torch.Tensor) -> torch.Tensor:
        self.steps.view(-1).add_(1)
        return fields[:, :4] + self.steps


class Draws(nn.Module):
    def forward(self, fields: torch.Tensor) -> torch.Tensor:
        return fields[:, :4] + torch.randn_like(fields[:, :4])


class InPlace(nn.Module):
    """Writes into its own results and its input only, which nothing else sees."""

    def forward(self, fields: torch.Tensor) -> torch.Tensor:
        fields[:, 0].mul_(2)
        return fields[:, :4].clone().add_(1)


def in_training(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers, nn.Conv2d(5, 4, 1)).train()


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (in_training(nn.Dropout(0.1)), r"draws random numbers itself \(aten\.dropout"),
        (Draws(), r"draws random numbers itself \(aten\.randn_like"),
        (in_training(nn.BatchNorm2d(5, track_running_stats=False)), "normalizes over its batch"),
        (in_training(nn.BatchNorm2d(5)), "changes a weight or a buffer"),
        (Counts(), r"changes a weight or a buffer \(aten\.add_"),
    ],
    ids=["dropout", "noise", "batch statistics", "running statistics", "counter"],
)
def test_a_step_must_depend_on_its_member_alone(
    tmp_path: Path, network: nn.Module, message: str
) -> None:
    path = export_by_hand(tmp_path / "model.pt2", network, fields())
    for trust in (False, True):
        with pytest.raises(InputError, match=message):
            open_checkpoint(path, {}, trust=trust)


@pytest.mark.parametrize(
    "network",
    [
        in_training(nn.Dropout(0.0)),
        in_training(nn.Dropout(0.5), nn.BatchNorm2d(5)).eval(),
        InPlace(),
    ],
    ids=["no rate", "evaluation", "in place"],
)
def test_what_only_looks_like_it_is_taken(tmp_path: Path, network: nn.Module) -> None:
    path = export_by_hand(tmp_path / "model.pt2", network, fields())
    emulator = open_checkpoint(path, {})
    assert torch.equal(step(emulator), step(emulator))


MANIFEST_FAULTS: list[tuple[str, Callable[[dict[str, Any]], Any], str]] = [
    (
        "format",
        lambda m: {**m, "format": "respeval/1"},
        "entry format: Input should be 'respeval-export/1'",
    ),
    (
        "no format",
        lambda m: {k: v for k, v in m.items() if k != "format"},
        "entry format: Field required",
    ),
    ("architecture", lambda m: {**m, "architecture": {"name": "sfno"}}, "entry architecture"),
    (
        "grid",
        lambda m: {**m, "grid": {**m["grid"], "latitude": [1.0]}},
        "latitude must be a list of at least two",
    ),
    (
        "climatology",
        lambda m: {**m, "climatology": {"skin": [[280.0]]}},
        "climatology of skin is no field of 8 x 16",
    ),
    (
        "unknown",
        lambda m: {**m, "climatology": {"nope": [[0.0] * 16] * 8}},
        "unknown variables: nope",
    ),
]


@pytest.mark.parametrize(
    ("change", "message"), [f[1:] for f in MANIFEST_FAULTS], ids=[f[0] for f in MANIFEST_FAULTS]
)
def test_a_faulty_manifest_is_named(
    tmp_path: Path, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    path = export(tmp_path / "model.pt2")
    beside = tmp_path / "model.json"
    beside.write_text(json.dumps(change(json.loads(beside.read_text()))))
    with pytest.raises(InputError, match=message) as found:
        open_checkpoint(path, {})
    assert str(beside) in str(found.value)


def test_a_manifest_must_lie_beside_it(tmp_path: Path) -> None:
    path = export(tmp_path / "model.pt2")
    (tmp_path / "model.json").rename(tmp_path / "other.json")
    assert "needs a manifest" in refused("inspect", path)
    with pytest.raises(InputError, match="the torch-export reader has no options"):
        open_checkpoint(path, {"manifest": "other.json"})


def test_the_manifest_is_part_of_what_identifies_a_run(tmp_path: Path) -> None:
    path = export(tmp_path / "model.pt2")
    before = checkpoint_digest(path, open_checkpoint(path, {}))
    beside = tmp_path / "model.json"
    beside.write_text(beside.read_text().replace('"full"', '"residual"'))
    assert checkpoint_digest(path, open_checkpoint(path, {})) != before


def test_an_older_torch_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = export(tmp_path / "model.pt2")
    monkeypatch.setattr(torch, "__version__", type(torch.__version__)("2.8.0"))
    with pytest.raises(InputError, match=r"need torch 2\.9 or newer, here is 2\.8\.0"):
        open_checkpoint(path, {})


def test_modes_and_devices_leave_it_as_it_is(tmp_path: Path) -> None:
    emulator = open_checkpoint(export(tmp_path / "model.pt2"), {})
    assert isinstance(emulator, ExportedEmulator)
    assert not emulator.training
    expected = step(emulator)
    assert torch.equal(step(emulator.train()), expected)
    assert emulator.to(torch.device("cpu")) is emulator
    assert torch.equal(step(emulator.eval()), expected)


class Waves(nn.Module):
    """Makes a tensor of its own, on the device of its input, and one on a device of its choice."""

    def forward(self, fields: torch.Tensor) -> torch.Tensor:
        row = torch.arange(GRID.num_lon, device=fields.device) + torch.zeros(1).to("cpu")
        return fields[:, :4] + row


def test_a_network_moves_to_another_device_with_all_that_it_makes(tmp_path: Path) -> None:
    """The meta device stands in for a GPU: like it, it mixes with no other device."""
    sfno = studies.export_native(studies.checkpoint(tmp_path / "a.pt"), tmp_path / "a.pt2")
    for path in (sfno, export(tmp_path / "waves.pt2", Waves())):
        emulator: Any = open_checkpoint(path, {})
        moved = emulator.to(torch.device("meta"))
        result = moved.step(*(fields.to("meta") for fields in inputs()), noise(0, 1, 2))
        assert result.device.type == "meta"
        assert {p.device.type for p in moved.parameters()} <= {"meta"}


def test_a_network_that_was_exported_on_a_gpu_opens_on_the_cpu(tmp_path: Path) -> None:
    path = export(tmp_path / "model.pt2")
    expected = step(open_checkpoint(path, {}))
    members = members_of(path)
    for name, content in members.items():
        if name.endswith(".json"):
            device = '{"type": "cuda", "index": 0}'
            members[name] = content.replace(b'{"type": "cpu", "index": null}', device.encode())
    assert members != members_of(path)
    write_archive(path, members)
    assert torch.equal(step(open_checkpoint(path, {})), expected)


def test_fields_of_later_versions_are_left_out(tmp_path: Path) -> None:
    path = export(tmp_path / "model.pt2")
    expected = step(open_checkpoint(path, {}))
    members = members_of(path)

    def add(program: Any) -> None:
        program["new_in_torch_3"] = {"anything": True}
        program["graph_module"]["graph"]["nodes"][0]["new_in_torch_3"] = "anything"

    edit(members, "models/model.json", add)
    write_archive(path, members)
    assert torch.equal(step(open_checkpoint(path, {})), expected)


def test_a_probe_says_what_kinds_of_weights_there_are(planet: Path, tmp_path: Path) -> None:
    path = export(tmp_path / "model.pt2")
    told = refused("gradient-probe", path, "--data", planet / "training.nc", "-o", tmp_path / "out")
    assert "its modules with weights are torch.nn.modules.conv.Conv2d (2)" in told
    assert "can be probed if it was exported with its weights as parameters" in told


class WithoutGradients(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, fields: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            result: torch.Tensor = self.network(fields)
        return result


def test_a_probe_of_a_network_for_inference_says_how_to_export(
    planet: Path, tmp_path: Path
) -> None:
    native = load_checkpoint(shipped_checkpoint("present_day"))
    path = tmp_path / "model.pt2"
    studies.export_native(shipped_checkpoint("present_day"), path)
    beside = path.with_suffix(".json").read_text()
    example = torch.zeros(2, native.manifest.num_network_inputs(), *native.spec.grid.shape)
    export_by_hand(path, WithoutGradients(native.network), example)
    path.with_suffix(".json").write_text(beside)
    data = ("--data", planet / "training.nc", "--batches", 1, "--batch-size", 2)
    told = refused("gradient-probe", path, *data, "-o", tmp_path / "out")
    assert "no gradient reaches the spectral filters network.network.blocks.0.global_conv" in told
    assert "outside torch.no_grad" in told


def test_the_example_exports_a_model_and_runs_it(planet: Path, tmp_path: Path) -> None:
    script = ROOT / "examples" / "export_any_model.py"
    short = ["--iterations", "2", "--days", "2"]
    command = [sys.executable, str(script), str(planet), "-o", str(tmp_path), *short]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "U-Net of plain convolutions" in done.stdout
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert np.isfinite(summary["p4K/tropical_ocean_surface_warming"])
