"""ACE models and networks, whole and split over processes: `torchrun -m` of this module.

`python -m tests.support.ace.splitting HEIGHT WIDTH FOLDER NAME…` under torchrun writes what each process
has of every one, PLACE.pt.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch

from respeval.checkpoints import open_checkpoint
from respeval.checkpoints.ace.fme import import_fme
from respeval.distributed.comm import connect
from respeval.distributed.mesh import Mesh, make_mesh
from respeval.emulator.noise import CounterNoise
from respeval.emulator.splitting import check_split, localize
from tests.support.ace import make_fixtures
from tests.support.ace.fields import fields
from tests.support.ace.files import AceFiles
from tests.support.processes import torchrun
from tests.support.splitting import reduce_gradients

NUM_STEPS = 20

#: Trained model -> options of the reader.
MODELS: dict[str, dict[str, Any]] = {
    "deterministic": {"derived": ["total_water_path"]},
    "stochastic": {},
    "labels": {"labels": ["autumn"]},
}

OLDER, CONDITIONED = "SphericalFourierNeuralOperatorNet", "NoiseConditionedSFNO"

#: Untrained network -> its builder, what is different about it, and its grid.
NETWORKS: dict[str, tuple[str, dict[str, Any], tuple[int, int]]] = {
    "dhconv": (OLDER, {"operator_type": "dhconv"}, (15, 30)),
    "diagonal": (OLDER, {"operator_type": "diagonal", "data_grid": "equiangular"}, (15, 30)),
    "layer_norm": (OLDER, {"normalization_layer": "layer_norm"}, (16, 32)),
    "coarse": (OLDER, {"scale_factor": 2, "operator_type": "dhconv"}, (16, 32)),
    "global_norm": (CONDITIONED, {"global_layer_norm": True, "affine_norms": True}, (15, 30)),
    "filtered": (
        CONDITIONED,
        {"filter_residual": True, "filter_output": True, "normalize_big_skip": True},
        (16, 32),
    ),
    "low_rank": (CONDITIONED, {"spectral_lora_rank": 2, "lora_rank": 2}, (15, 30)),
    "narrow": (
        CONDITIONED,
        {"spectral_ratio": 0.5, "filter_preserves_global_mean": True, "filter_num_groups": 2},
        (16, 32),
    ),
    "labelled": (
        CONDITIONED,
        {"context_pos_embed_dim": 4, "pos_embed": False, "label_embed_dim": 3},
        (15, 30),
    ),
    "makani": (CONDITIONED, {"filter_type": "makani-linear", "data_grid": "equiangular"}, (15, 30)),
}


#: Of networks that are told them.
LABELS = {"labelled": ("a", "b")}


def model(name: str) -> Any:
    """The emulator of a trained checkpoint."""
    files = AceFiles(make_fixtures.FOLDER)
    return open_checkpoint(files.checkpoint(name), MODELS[name])


def rollout(emulator: Any, mesh: Mesh) -> torch.Tensor:
    """This process's block of all outputs, [step, member, output, lat, lon]."""
    tile = mesh.tile(emulator.spec.grid.shape, emulator.spec.grid.north_to_south)
    given = fields(emulator, AceFiles(make_fixtures.FOLDER), 2)
    state, forcing, following = (tile.of(values).clone() for values in given)
    found = []
    with torch.inference_mode():
        held = emulator.conserve(state, forcing, following)
        for step in range(NUM_STEPS):
            noise = CounterNoise(3, [(0, 0), (1, 0)], step)
            found.append(emulator.step(state, forcing, following, noise, held))
            state = found[-1][:, : state.shape[1]]
            forcing, following = following, forcing
    return torch.stack(found)


def network(name: str) -> Any:
    """An untrained network in float64, all of whose weights are drawn."""
    import_fme(Path(name))
    from fme.core.registry import ModuleSelector

    kind, changes, shape = NETWORKS[name]
    config = {"embed_dim": 8, "num_layers": 2, **changes}
    if kind == CONDITIONED:
        config["noise_embed_dim"] = 4
    info: Any = SimpleNamespace(img_shape=shape, all_labels=set(LABELS.get(name, ())))
    torch.manual_seed(2)
    builder = ModuleSelector(type=kind, config=config)
    built = builder._instance.build(n_in_channels=3, n_out_channels=2, dataset_info=info)
    with torch.no_grad():
        for weight in built.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return built.eval()


def response(built: Any, mesh: Mesh, shape: tuple[int, int]) -> dict[str, torch.Tensor]:
    """Outputs and gradients of a network whose fields run south to north, in float64."""
    built.double()
    for weight in built.parameters():
        if weight.is_complex():
            weight.data = weight.data.to(torch.complex128)
    for module in built.modules():
        for table in ("weights", "pct"):  # of transforms, whose tables are no buffers
            if isinstance(vars(module).get(table), torch.Tensor):
                setattr(module, table, getattr(module, table).double())
    tile = mesh.tile(shape, north_to_south=False)
    generator = torch.Generator().manual_seed(4)
    given = torch.randn(2, 3, *shape, generator=generator, dtype=torch.float64)
    noise = torch.randn(2, 4, *shape, generator=generator, dtype=torch.float64)
    weights = torch.rand(2, 2, *shape, generator=generator, dtype=torch.float64)

    def drawn(*size: Any, **options: Any) -> torch.Tensor:
        return tile.of(noise).clone()

    # Convolutions and transforms ask for float32.
    with (
        mock.patch.object(torch.Tensor, "float", lambda values: values),
        mock.patch("torch.randn", drawn),
    ):
        options = (
            {"labels": torch.eye(2).double()}
            if getattr(built, "label_pos_embed", None) is not None
            else {}
        )
        outputs = built(tile.of(given).clone(), **options)
    assert outputs.dtype == torch.float64
    (tile.of(weights) * outputs.square()).sum().backward()
    reduce_gradients(built, mesh)
    found = {name: w.grad for name, w in built.named_parameters() if w.grad is not None}
    return {"outputs": outputs.detach(), **found}


def split(layout: tuple[int, int], folder: Path, names: Iterable[str]) -> list[dict[str, Any]]:
    """What each process of a layout has: of a model its rollout, of a network its `response`."""
    height, width = layout
    program = ("-m", "tests.support.ace.splitting")
    done = torchrun(height * width, height, width, folder, *names, program=program)
    assert done.returncode == 0, done.stderr[-4000:]
    return [torch.load(folder / f"{place}.pt") for place in range(height * width)]


def main(height: int, width: int, folder: Path, names: Sequence[str]) -> None:
    os.environ.update(make_fixtures.FME_ENVIRONMENT)
    comm = connect("cpu")
    mesh = make_mesh(comm.rank, comm.num_processes, height, width, timedelta(minutes=2))
    found: dict[str, Any] = {}
    for name in names:
        if name in MODELS:
            emulator = model(name)
            check_split(emulator, height, width, name)
            localize(emulator, mesh)
            found[name] = rollout(emulator, mesh)
        else:
            from respeval.checkpoints.ace.splitting import split_networks

            built = network(name)
            split_networks(built, mesh, north_to_south=False)
            found[name] = response(built, mesh, NETWORKS[name][2])
    torch.save(found, folder / f"{mesh.place}.pt")
    comm.close()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
