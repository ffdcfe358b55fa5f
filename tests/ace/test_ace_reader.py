"""What the ACE reader says of genuine checkpoints, and what it refuses, in one line each."""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from fme.ace.stepper.single_module import Stepper
from fme.core import device
from typer.testing import CliRunner

from respeval.checkpoints import open_checkpoint
from respeval.checkpoints.ace.fme import fme_on
from respeval.cli import app
from respeval.emulator.contract import OCEAN_CUTOFF, Emulator
from respeval.emulator.noise import CounterNoise
from respeval.errors import InputError
from respeval.fields.fractions import is_above
from tests.support.ace.fields import fields
from tests.support.ace.files import AceFiles

Content = dict[str, Any]


def content_of(path: Path) -> Content:
    content: Content = torch.load(path, map_location="cpu", weights_only=False)
    return content


@pytest.mark.parametrize("model", ["deterministic", "stochastic", "interpolate"])
def test_a_member_is_stepped_alike_in_any_batch(ace: AceFiles, model: str) -> None:
    emulator = open_checkpoint(ace.checkpoint(model), {})
    given = fields(emulator, ace, 3)
    streams = [(sample, 0) for sample in range(3)]
    with torch.inference_mode():
        held = emulator.conserve(*given)
        together = emulator.step(*given, CounterNoise(5, streams, 9), held)
        for i in range(3):
            one = [field[i : i + 1] for field in given]
            held_one = None if held is None else held[i : i + 1]
            alone = emulator.step(*one, CounterNoise(5, streams[i : i + 1], 9), held_one)
            scale = together.std(dim=(0, 2, 3), keepdim=True) + 1e-30
            assert float(((together[i : i + 1] - alone) / scale).abs().max()) < 1e-4
    assert bool(torch.isfinite(together).all())
    assert (held is not None) == (model in ("deterministic", "stochastic"))


def test_another_process_goes_on_with_what_was_conserved(ace: AceFiles) -> None:
    first, second = (open_checkpoint(ace.checkpoint("deterministic"), {}) for _ in range(2))
    given = fields(first, ace, 2)
    noise = CounterNoise(0, [(0, 0), (1, 0)], 0)
    with torch.inference_mode():
        held = first.conserve(*given)
        assert held is not None
        held = held + 500.0  # Pa of dry air that these states do not have
        expected = first.step(*given, noise, held)
        assert torch.equal(second.step(*given, noise, held), expected)
        assert not torch.equal(first.step(*given, noise), expected)


@pytest.mark.parametrize(
    ("model", "changed", "num_calls"),
    [
        ("deterministic", None, 1),
        ("deterministic", 0, 2),
        ("deterministic", 1, 2),
        ("deterministic", 2, 2),
        ("deterministic", 3, 2),
        ("interpolate", None, 1),
        ("interpolate", 1, 2),
        ("stochastic", None, 2),
    ],
)
def test_the_first_step_is_taken_once(
    ace: AceFiles, model: str, changed: int | None, num_calls: int
) -> None:
    """Unless another one is asked for than `conserve` took."""
    emulator, other = (open_checkpoint(ace.checkpoint(model), {}) for _ in range(2))
    given = fields(emulator, ace, 2)
    calls: list[object] = []
    emulator.network.register_forward_hook(lambda *call: calls.append(call))

    def stepped(by: Emulator) -> torch.Tensor:
        return by.step(*given, CounterNoise(0, [(0, 0), (1, 0)], 0), held)

    with torch.inference_mode():
        held = emulator.conserve(*given)
        if changed == 3:
            assert held is not None
            held = held * 1.0001
        elif changed is not None:
            given[changed] = given[changed] * 1.0001
        found = stepped(emulator)
        assert len(calls) == num_calls
        assert torch.equal(found, stepped(other))
        assert torch.equal(found, stepped(emulator))
    assert len(calls) == num_calls + 1


def test_gradients_of_the_first_step_are_not_lost(ace: AceFiles) -> None:
    emulator = open_checkpoint(ace.checkpoint("deterministic"), {})
    given = fields(emulator, ace, 1)
    held = emulator.conserve(*given)
    assert emulator.step(*given, CounterNoise(0, [(0, 0)], 0), held).requires_grad


def test_members_of_a_pair_draw_equal_noise_and_others_do_not(ace: AceFiles) -> None:
    emulator = open_checkpoint(ace.checkpoint("stochastic"), {})
    given = [field[[0, 0, 0]] for field in fields(emulator, ace, 1)]
    with torch.inference_mode():
        outputs = emulator.step(*given, CounterNoise(5, [(0, 0), (0, 0), (1, 0)], 2))
        later = emulator.step(*given, CounterNoise(5, [(0, 0), (0, 0), (1, 0)], 3))
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])
    assert not torch.equal(outputs[0], later[0])


def test_members_that_share_a_draw_can_be_one_pair(ace: AceFiles) -> None:
    """The isotropic noise of this model changes in place what was drawn."""
    emulator = open_checkpoint(ace.checkpoint("labels"), {"labels": ["autumn"]})
    given = [field[[0, 0]] for field in fields(emulator, ace, 1)]
    with torch.inference_mode():
        emulator.conserve(*given)
        outputs = emulator.step(*given, CounterNoise(5, [(0, 0), (0, 0)], 2))
        alone = emulator.step(*(field[:1] for field in given), CounterNoise(5, [(0, 0)], 2))
    assert torch.equal(outputs[0], outputs[1])
    assert torch.allclose(outputs[:1], alone, rtol=1e-5)


def test_fme_s_device_is_one_thread_s_at_a_time() -> None:
    """A forcing that fme computes is read ahead while another thread steps."""
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    seen: list[bool] = []

    def compute() -> None:
        with fme_on(cpu):
            seen.append(device._FORCE_CPU)

    with fme_on(gpu):
        thread = threading.Thread(target=compute)
        thread.start()
        thread.join(timeout=0.2)
        assert not seen
        assert not device._FORCE_CPU
        with fme_on(cpu):  # the same thread may
            assert device._FORCE_CPU
    thread.join(timeout=60)
    assert seen == [True]


def test_the_caller_s_fields_and_gradient_mode_are_left_alone(ace: AceFiles) -> None:
    emulator = open_checkpoint(ace.checkpoint("deterministic"), {})
    given = fields(emulator, ace, 1)
    before = [field.clone() for field in given]
    outputs = emulator.step(*given, CounterNoise(0, [(0, 0)], 0))
    assert outputs.requires_grad
    assert all(torch.equal(a, b) for a, b in zip(given, before, strict=True))
    assert isinstance(emulator, torch.nn.Module)
    assert not any(module.training for module in emulator.modules())


def test_an_ocean_prescribes_by_threshold_or_by_fraction(ace: AceFiles) -> None:
    for model in ("deterministic", "interpolate"):
        emulator = open_checkpoint(ace.checkpoint(model), {})
        _, _, following = fields(emulator, ace, 1)
        names = list(emulator.spec.required_forcing)
        ocean = following[:, names.index("ocean_fraction")]
        forced = following[:, names.index("surface_temperature")]
        own = torch.full_like(forced, 200.0)
        got = emulator.prescribe(own, following)
        wanted = torch.where(ocean > 0.5, forced, own)
        if model == "interpolate":
            wanted = ocean * forced + (1 - ocean) * own
        torch.testing.assert_close(got, wanted)
        assert emulator.spec.interpolates_sst == (model == "interpolate")
        if model == "interpolate":
            continue
        # The cells that fme prescribes are those that respeval warms and calls ocean.
        near = torch.tensor([0.5 - 3e-8, 0.5, 0.5 + 3e-8, 0.5 + 6e-8, 0.500001, 1.0])
        around = following.clone()
        around[:, names.index("ocean_fraction")].view(-1)[: len(near)] = near
        prescribed = emulator.prescribe(own, around) == forced
        ocean = around[:, names.index("ocean_fraction")]
        assert (prescribed == is_above(ocean, OCEAN_CUTOFF)).all()
        assert (prescribed.numpy() == is_above(ocean.double().numpy(), OCEAN_CUTOFF)).all()


def test_inspect_tells_everything_of_a_checkpoint(
    ace: AceFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    page = CliRunner().invoke(
        app, ["inspect", str(ace.checkpoint("labels")), "--reader=labels=winter"]
    )
    assert page.exit_code == 0, page.output
    text = " ".join(page.output.split())
    for expected in (
        "NoiseConditionedSFNO",
        "16 x 32 legendre-gauss, south to north",
        "6 h",
        "stochastic, 8 noise channels",
        "moving average (updates:",
        "autumn, winter (used: winter)",
        "epochs",
        "Temperature level-3",
        "conditional_model.blocks.0.filter.filter.weight",
    ):
        assert expected in text, expected


def test_the_hybrid_levels_give_the_nominal_pressures(ace: AceFiles) -> None:
    spec = open_checkpoint(ace.checkpoint("deterministic"), {}).spec
    levels = spec.hybrid_levels
    assert levels is not None
    edges = np.array(levels.ap_Pa) + np.array(levels.b) * 1e5
    np.testing.assert_allclose((edges[1:] + edges[:-1]) / 200.0, spec.levels_hPa, rtol=1e-6)
    assert levels.b[-1] == 1.0
    assert len(spec.levels_hPa) == len(spec.roles.column_temperature)


def test_the_best_checkpoint_has_its_average_in_place(ace: AceFiles) -> None:
    best = open_checkpoint(ace.checkpoint("deterministic", "best_ckpt"), {})
    assert "no moving average beside them" in best.spec.description["weights"]


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        open_checkpoint(path, options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def changed(ace: AceFiles, model: str, folder: Path, change: Callable[[Content], None]) -> Path:
    """A genuine checkpoint with something changed in it."""
    content = content_of(ace.checkpoint(model))
    change(content)
    path = folder / "ckpt.tar"
    torch.save(content, path)
    return path


def settings_of(content: Content) -> Content:
    settings: Content = content["stepper"]["config"]["step"]["config"]
    return settings


def slab(content: Content) -> None:
    names = {"mixed_layer_depth_name": "HGTsfc", "q_flux_name": "DSWRFtoa"}
    settings_of(content)["ocean"]["slab"] = names


def later_version(content: Content) -> None:
    settings_of(content)["hyperdiffusion"] = 2.0


def healpix(content: Content) -> None:
    content["stepper"]["dataset_info"]["horizontal_coordinates"] = {
        name: torch.arange(4) for name in ("face", "height", "width")
    }


def coupled(content: Content) -> None:
    state = content["stepper"]
    content["stepper"] = {"config": {}, "atmosphere_state": state, "ocean_state": state}


def no_weights(content: Content) -> None:
    for name in list(content["stepper"]["step"]["module"]):
        del content["stepper"]["step"]["module"][name]


def no_timestep(content: Content) -> None:
    content["stepper"]["dataset_info"]["timestep"] = None


REFUSED: dict[str, tuple[Callable[[Content], None], str]] = {
    "slab ocean": (slab, "has a slab ocean, which computes its SST"),
    "another version": (later_version, "written by another version of fme than the installed 20"),
    "HEALPix": (healpix, "HEALPix grid, which respeval does not support yet"),
    "coupled": (coupled, "is a coupled model"),
    "no stepper": (lambda content: content.pop("stepper"), "has no 'stepper' entry"),
    "no config": (lambda content: content["stepper"].pop("config"), "entry has no config"),
    "no weights": (no_weights, "can't build its model"),
    "no time step": (no_timestep, "missing required information: timestep"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_can_t_be_run_is_refused_with_the_reason(
    ace: AceFiles, case: str, tmp_path: Path
) -> None:
    change, reason = REFUSED[case]
    assert reason in refusal(changed(ace, "deterministic", tmp_path, change))


def test_labels_must_be_given_and_known(ace: AceFiles) -> None:
    path = ace.checkpoint("labels")
    assert "needs labels (it knows: autumn, winter)" in refusal(path)
    assert "does not know the label spring" in refusal(path, labels=["winter", "spring"])
    assert "takes no labels" in refusal(ace.checkpoint("deterministic"), labels=["winter"])


def test_labels_change_the_model(ace: AceFiles) -> None:
    outputs = []
    for label in ("autumn", "winter"):
        emulator = open_checkpoint(ace.checkpoint("labels"), {"labels": label})
        given = fields(emulator, ace, 1)
        with torch.inference_mode():
            outputs.append(emulator.step(*given, CounterNoise(0, [(0, 0)], 0)))
    assert not torch.equal(*outputs)


def test_options_are_checked(ace: AceFiles) -> None:
    path = ace.checkpoint("deterministic")
    assert "has no option weights (reader: ema, labels, derived, grid)" in refusal(path, weights=1)
    assert "ema must be true or false, got 'perhaps'" in refusal(path, ema="perhaps")
    assert "fme derives no rainbow from" in refusal(path, derived=["rainbow"])
    assert "labels must be a list of names" in refusal(path, labels=3)


def without_grid(content: Content) -> None:
    """As files of earlier versions of fme are: the grid's shape and areas alone."""
    info = content["stepper"]["dataset_info"]
    info["horizontal_coordinates"] = None
    info["img_shape"] = (16, 32)
    areas = torch.ones(16, 32)
    info["gridded_operations"] = {"type": "LatLonOperations", "state": {"area_weights": areas}}


def test_a_file_without_coordinates_takes_them_from_a_named_file(
    ace: AceFiles, tmp_path: Path
) -> None:
    path = changed(ace, "deterministic", tmp_path, without_grid)
    assert "--reader grid=FILE" in refusal(path)
    record = next(iter(sorted(ace.forcing_folder.glob("*.nc"))))
    with_grid = open_checkpoint(path, {"grid": str(record)})
    whole = open_checkpoint(ace.checkpoint("deterministic"), {})
    assert (
        with_grid.spec.grid.difference_from(whole.spec.grid.latitude, whole.spec.grid.longitude)
        is None
    )


@dataclass
class Payload:
    """Makes a file when it is unpickled."""

    target: str

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.target,)


def test_nothing_in_a_file_is_run_without_the_flag(ace: AceFiles, tmp_path: Path) -> None:
    harmful, target = tmp_path / "harmful.tar", tmp_path / "made"
    content = content_of(ace.checkpoint("deterministic"))
    torch.save({**content, "optimization": Payload(str(target))}, harmful)
    message = refusal(harmful)
    assert "mkdir" in message
    assert "--trust-checkpoint" in message
    assert not target.exists()
    open_checkpoint(harmful, {}, trust=True)
    assert target.exists()


def test_a_class_that_a_file_needs_is_named(ace: AceFiles, tmp_path: Path) -> None:
    path = tmp_path / "ckpt.tar"
    content = content_of(ace.checkpoint("deterministic"))
    torch.save({**content, "started": timedelta(days=1)}, path)
    assert "needs datetime.timedelta to load" in refusal(path)
    assert open_checkpoint(path, {}, trust=True).spec.timestep_s == 6 * 3600


def test_broken_files_are_refused(ace: AceFiles, tmp_path: Path) -> None:
    whole = ace.checkpoint("deterministic").read_bytes()
    path = tmp_path / "ckpt.tar"
    for damaged in (b"", b"not a checkpoint", whole[: len(whole) // 2], pickle.dumps(3)):
        path.write_bytes(damaged)
        assert str(path) in refusal(path)


def test_a_forcing_without_an_input_of_the_model_is_refused(ace: AceFiles, tmp_path: Path) -> None:
    with xr.open_dataset(ace.forcing_folder / "forcing_2000.nc", decode_times=False) as opened:
        opened.drop_vars("sea_ice_fraction").to_netcdf(tmp_path / "forcing.nc")
    options = [
        *("run", str(ace.checkpoint("deterministic")), f"--output={tmp_path / 'out'}"),
        *(f"--forcing={tmp_path / 'forcing.nc'}", f"--initial-condition={ace.initial_conditions}"),
        "--steps=4",
    ]
    result = CliRunner().invoke(app, options)
    assert result.exit_code == 2
    assert "has no 'sea_ice_fraction'" in result.stderr
    assert not (tmp_path / "out").exists()


def test_fme_s_own_loader_gives_the_same_weights(ace: AceFiles) -> None:
    """The state that was loaded as plain data is the one that fme's unpickling loader reads."""
    emulator = open_checkpoint(ace.checkpoint("stochastic"), {"ema": False})
    theirs = Stepper.from_state(content_of(ace.checkpoint("stochastic"))["stepper"])
    assert isinstance(emulator, torch.nn.Module)
    for ours, other in zip(emulator.parameters(), theirs.modules.parameters(), strict=True):
        assert torch.equal(ours, other)
