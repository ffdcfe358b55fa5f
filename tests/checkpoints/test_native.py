"""Native checkpoints: the round trip, the prediction rules, and files that are refused."""

from __future__ import annotations

import json
import os
import pickle
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from respeval.checkpoints import open_checkpoint
from respeval.checkpoints.native import NativeEmulator, load_checkpoint, save_checkpoint
from respeval.emulator.noise import CounterNoise
from respeval.errors import InputError
from respeval.fields.grid import Grid
from respeval.loss_probe.filters import find_filters
from tests.support import ROOT, studies
from tests.support.inputs import inputs, noise
from tests.support.studies import GRID


def build(**changes: Any) -> NativeEmulator:
    torch.manual_seed(0)
    return NativeEmulator(studies.manifest(**changes)).eval()


def test_a_checkpoint_survives_the_round_trip(tmp_path: Path) -> None:
    emulator = build(climatology=["skin"], num_noise_channels=2, split_surface_temperature=True)
    with torch.no_grad():
        emulator.climatology["skin"].copy_(torch.rand(GRID.shape))
    save_checkpoint(tmp_path / "a.pt", emulator)
    loaded = load_checkpoint(tmp_path / "a.pt")
    assert loaded.manifest == emulator.manifest
    assert not loaded.training
    with torch.no_grad():
        args = inputs()
        expected = emulator.step(*args, noise(0, 1, 2))
        assert torch.equal(loaded.step(*args, noise(0, 1, 2)), expected)
    mean, _ = loaded.spec.normalization["skin"]
    assert (mean == emulator.climatology["skin"].double().numpy()).all()


def test_the_file_is_plain_and_says_what_it_is(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a.pt", build())
    content = torch.load(tmp_path / "a.pt", weights_only=True)
    assert set(content) == {"format", "manifest", "state_dict"}
    assert content["format"] == "respeval/1"
    manifest = json.loads(content["manifest"])
    assert manifest["architecture"]["transform"] == {
        "lmax": 8,
        "mmax": 8,
        "grid": "legendre-gauss",
    }


def test_a_step_normalizes_predicts_and_prescribes() -> None:
    """The whole step again, spelled out with the bare network."""
    emulator = build()
    state, forcing, following = inputs()
    with torch.no_grad():
        got = emulator.step(state, forcing, following, noise(0, 1, 2))
        mean = torch.tensor([280.0, 280, 280, 0.5, 300])[:, None, None]
        scale = torch.tensor([10.0, 10, 10, 0.5, 150])[:, None, None]
        raw = emulator.network((torch.cat([state, forcing[:, :2]], 1) - mean) / scale)
        out_mean = torch.tensor([280.0, 280, 280, 3e-5])[:, None, None]
        expected = raw * torch.tensor([10.0, 10, 10, 1e-5])[:, None, None] + out_mean
        ocean = following[:, 0] > 0.5
        expected[:, 2] = torch.where(ocean, following[:, 2], expected[:, 2])
    assert torch.allclose(got, expected, rtol=1e-6)
    assert (got[:, 2][ocean] == following[:, 2][ocean]).all()


def test_a_residual_prediction_adds_to_the_state() -> None:
    state, forcing, following = inputs()
    with torch.no_grad():
        full = build().step(state, forcing, following, noise(0, 1, 2))
        residual = build(prediction="residual").step(state, forcing, following, noise(0, 1, 2))
    change = (full[:, :2] - 280.0) / 10.0  # residual_scale is 1 K, scale 10 K
    assert torch.allclose(residual[:, :2], state[:, :2] + change, atol=1e-4)
    assert torch.equal(residual[:, 3], full[:, 3])


def test_ocean_and_land_surface_temperature_can_be_two_channels() -> None:
    emulator = build(split_surface_temperature=True)
    seen = []
    emulator.network.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    state, forcing, following = inputs()
    with torch.no_grad():
        emulator.step(state, forcing, following, noise(0, 1, 2))
    ocean = forcing[:, 0] > 0.5
    skin = (state[:, 2] - 280.0) / 10.0
    assert torch.allclose(seen[0][:, 2], torch.where(ocean, skin, 0.0))
    assert torch.allclose(seen[0][:, 3], torch.where(ocean, 0.0, skin))


def test_a_grid_from_south_to_north_is_the_same_model_upside_down() -> None:
    south = Grid(GRID.latitude[::-1], GRID.longitude, "legendre-gauss")
    state, forcing, following = inputs()
    with torch.no_grad():
        expected = build().step(state, forcing, following, noise(0, 1, 2))
        got = build(grid=south).step(
            state.flip(-2), forcing.flip(-2), following.flip(-2), noise(0, 1, 2)
        )
    assert torch.allclose(got.flip(-2), expected, rtol=1e-6)


def test_noise_depends_on_sample_and_step_alone() -> None:
    together = noise(4, 9, 4, step=3)
    first, second = together.normal(2, 3), together.normal(2, 3)
    assert torch.equal(first[0], first[2])  # paired
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, second)
    alone = noise(9, step=3)
    assert torch.equal(alone.normal(2, 3)[0], first[1])
    assert torch.equal(alone.normal(2, 3)[0], second[1])
    assert not torch.equal(noise(9, step=4).normal(2, 3)[0], first[1])
    other_group = CounterNoise(7, [(9, 1)], 3).normal(2, 3)
    assert not torch.equal(other_group[0], first[1])


def test_noise_is_standard_normal_across_streams() -> None:
    many = CounterNoise(0, [(s, 0) for s in range(400)], 5).normal(50)
    assert many.mean().item() == pytest.approx(0.0, abs=4 / np.sqrt(many.numel()))
    assert many.var().item() == pytest.approx(1.0, abs=4 * np.sqrt(2 / many.numel()))
    correlation = np.corrcoef(many.numpy())
    off_diagonal = correlation[~np.eye(400, dtype=bool)]
    assert off_diagonal.std() == pytest.approx(1 / np.sqrt(50), rel=0.05)


class Attack:
    """Unpickling this would create a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("nested", [False, True])
def test_a_pickle_that_would_run_code_does_not(tmp_path: Path, nested: bool) -> None:
    target, path = tmp_path / "harm", tmp_path / "attack.pt"
    content: Any = Attack(target)
    if nested:
        torch.save({"format": "respeval/1", "manifest": "{}", "state_dict": {"w": content}}, path)
    else:
        path.write_bytes(pickle.dumps(content))
    with pytest.raises(InputError, match="needs code to load|is no checkpoint"):
        open_checkpoint(path, {})
    with pytest.raises(InputError, match="trust-checkpoint does not change|is no checkpoint"):
        open_checkpoint(path, {}, trust=True)
    assert not target.exists()
    if nested:
        torch.load(path, weights_only=False)  # the attack is a real one
        assert target.exists()


def _rewrite(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    content = torch.load(path, weights_only=True)
    torch.save(change(content), path)


def _with_manifest(**changes: Any) -> Callable[[dict[str, Any]], Any]:
    def change(content: dict[str, Any]) -> Any:
        return {**content, "manifest": json.dumps({**json.loads(content["manifest"]), **changes})}

    return change


def _with_weights(change: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
    return lambda content: {**content, "state_dict": change(dict(content["state_dict"]))}


ENCODER = "network.encoder.0.weight"
ARGUMENTS = {"embed_dim": 4, "num_layers": 2}
REFUSALS: list[tuple[str, Callable[[dict[str, Any]], Any], str]] = [
    ("no dictionary", lambda c: [1, 2], "no respeval checkpoint: it has no 'format'"),
    ("no format", lambda c: {"model": c["state_dict"]}, "it has no 'format' entry"),
    ("format", lambda c: {**c, "format": "respeval/9"}, "has format 'respeval/9'; this respeval"),
    ("no manifest", lambda c: {**c, "manifest": None}, "has no manifest"),
    ("no JSON", lambda c: {**c, "manifest": "{"}, "manifest is no JSON"),
    ("unknown entry", _with_manifest(colour=1), "manifest entry colour"),
    ("wrong type", _with_manifest(timestep_s="daily"), "manifest entry timestep_s"),
    (
        "architecture",
        _with_manifest(architecture={"name": "unet", "arguments": {}, "transform": {}}),
        "manifest entry architecture.name: .*'sfno'",
    ),
    (
        "broken option",
        _with_manifest(
            architecture={
                "name": "sfno",
                "arguments": {**ARGUMENTS, "residual_prediction": True},
                "transform": {"lmax": 8, "mmax": 8, "grid": "legendre-gauss"},
            }
        ),
        "architecture.arguments.residual_prediction",
    ),
    (
        "other truncation",
        _with_manifest(
            architecture={
                "name": "sfno",
                "arguments": ARGUMENTS,
                "transform": {"lmax": 6, "mmax": 6, "grid": "legendre-gauss"},
            }
        ),
        "the manifest asks for lmax=6",
    ),
    ("normalization", _with_manifest(normalization={}), "normalization lacks air_temperature_0"),
    (
        "kind of grid",
        _with_manifest(
            grid={
                "kind": "legendre-gauss",
                "latitude": np.arange(78.75, -90, -22.5).tolist(),
                "longitude": GRID.longitude.tolist(),
            }
        ),
        "grid kind 'legendre-gauss' does not fit the 8 latitudes, which are off by up to 4.95 degrees; "
        "they are equiangular",
    ),
    ("grid", _with_manifest(grid={"kind": "regular", "latitude": [1], "longitude": [0]}), "two"),
    ("calendar", _with_manifest(calendar="mars"), "unknown calendar 'mars'"),
    (
        "role",
        _with_manifest(roles={"surface_level": "nope"}),
        "roles name 'nope', which is no output",
    ),
    ("levels", _with_manifest(levels_hPa=[1.0]), "levels_hPa needs one pressure for each"),
    ("deep JSON", lambda c: {**c, "manifest": "[" * 100_000}, "manifest is no JSON"),
    (
        "huge network",
        _with_manifest(
            architecture={
                "name": "sfno",
                "arguments": {"embed_dim": 100_000, "num_layers": 200},
                "transform": {"lmax": 8, "mmax": 8, "grid": "legendre-gauss"},
            }
        ),
        r"asks for 128000000\.0 MB of spectral filters, the file has",
    ),
    (
        "other type",
        _with_weights(lambda w: {**w, ENCODER: w[ENCODER].to(torch.complex64)}),
        r"encoder\.0\.weight is torch\.complex64, expected torch\.float32",
    ),
    ("no weights", lambda c: {**c, "state_dict": 3}, "has no state_dict"),
    (
        "missing weight",
        _with_weights(lambda w: {k: v for k, v in w.items() if k != ENCODER}),
        f"lacks weights: {ENCODER}",
    ),
    (
        "surplus weight",
        _with_weights(lambda w: {**w, "extra": torch.zeros(1)}),
        "surplus weights: extra",
    ),
    (
        "wrong shape",
        _with_weights(lambda w: {**w, ENCODER: torch.zeros(3)}),
        rf"{ENCODER} is \[3\], its manifest asks for \[4, 5, 1, 1\]",
    ),
]


@pytest.mark.parametrize(
    ("change", "message"), [r[1:] for r in REFUSALS], ids=[r[0] for r in REFUSALS]
)
def test_faulty_checkpoints_are_refused_in_one_line(
    tmp_path: Path, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    path = tmp_path / "faulty.pt"
    save_checkpoint(path, build())
    _rewrite(path, change)
    with pytest.raises(InputError, match=message) as refused:
        open_checkpoint(path, {})
    assert "\n" not in str(refused.value)
    assert str(path) in str(refused.value)


def test_files_that_are_no_checkpoints(tmp_path: Path) -> None:
    text = tmp_path / "text.pt"
    text.write_text("hello")
    truncated = studies.checkpoint(tmp_path / "truncated.pt")
    truncated.write_bytes(truncated.read_bytes()[:2000])
    empty = tmp_path / "empty.pt"
    empty.touch()
    for path in (text, truncated, empty):
        with pytest.raises(InputError, match="is no checkpoint"):
            open_checkpoint(path, {})
    with pytest.raises(InputError, match="no such checkpoint file"):
        open_checkpoint(tmp_path / "nothing.pt", {})
    with pytest.raises(InputError, match="no reader for .txt files"):
        open_checkpoint(text.rename(tmp_path / "text.txt"), {})
    with pytest.raises(InputError, match="the native reader has no options"):
        open_checkpoint(studies.checkpoint(tmp_path / "good.pt"), {"ema": True})


@pytest.mark.parametrize(
    "named",
    [
        lambda name: f"module.{name}",
        lambda name: name.replace("network.", "network.module."),
        lambda name: name.replace("network.", "network._orig_mod.module."),
        lambda name: name.replace("blocks.0.", "blocks.0._orig_mod."),
    ],
)
def test_names_that_wrappers_left_are_taken_out(
    tmp_path: Path, named: Callable[[str], str]
) -> None:
    emulator, path = build(climatology=["skin"]), tmp_path / "wrapped.pt"
    save_checkpoint(path, emulator)
    _rewrite(path, _with_weights(lambda w: {named(name): value for name, value in w.items()}))
    loaded = load_checkpoint(path).state_dict()
    assert loaded.keys() == emulator.state_dict().keys()
    assert all(torch.equal(value, loaded[name]) for name, value in emulator.state_dict().items())
    _rewrite(path, _with_weights(lambda w: {**w, ENCODER: w[named(ENCODER)]}))
    if named(ENCODER) != ENCODER:
        with pytest.raises(InputError, match=f"holds {ENCODER} twice, as "):
            load_checkpoint(path)


@pytest.mark.parametrize("protocol", [4, 5])
def test_another_protocol_of_pickle_is_named(tmp_path: Path, protocol: int) -> None:
    path = studies.checkpoint(tmp_path / "a.pt")
    torch.save(torch.load(path, weights_only=True), path, pickle_protocol=protocol)
    message = f"pickle protocol {protocol}, .* leaving out pickle_protocol"
    with pytest.raises(InputError, match=message):
        open_checkpoint(path, {})


def test_a_file_of_an_old_torch_can_be_written_again(tmp_path: Path) -> None:
    path = studies.checkpoint(tmp_path / "a.pt")
    expected = load_checkpoint(path).state_dict()
    content = torch.load(path, weights_only=True)
    torch.save(content, path, _use_new_zipfile_serialization=False)
    with pytest.raises(InputError, match="format from before version 1.6; write it again with"):
        open_checkpoint(path, {})
    torch.save(torch.load(path, weights_only=True), path)  # what the line says
    loaded = load_checkpoint(path).state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in expected.items())


def test_what_else_torch_saves_is_told_where_to_go(tmp_path: Path) -> None:
    network = torch.nn.Linear(2, 2)
    path = tmp_path / "a.pt"
    for content, message in (
        (network.state_dict(), "holds weights alone .weight, bias."),
        ({"state_dict": network.state_dict(), "epoch": 3}, "it has: state_dict, epoch"),
        (network, r"needs code to load .torch.nn.modules.linear.Linear., as a network that was"),
    ):
        torch.save(content, path)
        with pytest.raises(InputError, match=message) as refused:
            open_checkpoint(path, {})
        assert "torch.export.save" in str(refused.value)
        assert "docs/readers.md" in str(refused.value)
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    with pytest.raises(InputError, match="git lfs pull"):
        open_checkpoint(path, {})
    studies.checkpoint(tmp_path / "native.pt")
    studies.export_native(tmp_path / "native.pt", tmp_path / "program.pt2")
    (tmp_path / "program.pt2").rename(path)
    with pytest.raises(InputError, match="holds a program of torch.export; name it a.pt2"):
        open_checkpoint(path, {})


def test_the_example_writes_a_checkpoint_with_the_network_s_own_answers(tmp_path: Path) -> None:
    """Written without respeval; the network in the file gives what the script's own network gives."""
    script = ROOT / "examples" / "write_native_checkpoint.py"
    done = subprocess.run(
        [sys.executable, str(script), "-o", str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "sfno" in done.stdout
    example = runpy.run_path(str(script))
    torch.manual_seed(0)
    network = example["make_network"]().eval()
    emulator = load_checkpoint(tmp_path / "model.pt")
    fields = torch.randn(2, 5, 24, 48, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(emulator.network(fields), network(fields))
    mean, _ = emulator.spec.normalization["ts"]
    assert np.asarray(mean)[:, 0] == pytest.approx(
        260 + 40 * np.cos(np.radians(np.linspace(90, -90, 24))), rel=1e-6
    )


def test_spectral_filters_are_found_by_what_they_are() -> None:
    emulator = build()
    found = find_filters(emulator)
    assert [f.name for f in found] == [
        "network.blocks.0.global_conv.weight",
        "network.blocks.1.global_conv.weight",
    ]
    assert [f.num_degrees for f in found] == [8, 8]
    assert all(f.parameter.is_complex() for f in found)
