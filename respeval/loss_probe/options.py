"""Options of `respeval gradient-probe`, each stated once; importing them loads nothing heavy."""

from __future__ import annotations

from pathlib import Path

from respeval.case.options import COMPUTE, Option, Texts
from respeval.case.parsing import check_at_least_one

_PROBED, _LOSS = "What is probed", "The loss"

#: Sizes of a probe: so many batches that the spread between them is known to about a fifth.
NUM_BATCHES, BATCH_SIZE = 16, 8

#: Arms of the A/B, as texts.
ARMS = Option(
    "arms",
    Texts,
    "none, per_sample[:gamma=0.5,eps=0.02,max_ratio=none] or spectral_power; repeat for several, the first "
    "is what the others are compared with. Default: none and per_sample, or none and the whitening of "
    "--loss-config.",
    "arm",
    panel=_PROBED,
    metavar="ARM",
)

#: Fields of `ProbeSettings`.
SETTINGS: tuple[Option, ...] = (
    Option(
        "filters",
        str | None,
        "Glob over names of spectral filters; default all.",
        flags=("--filter",),
        panel=_PROBED,
        metavar="GLOB",
    ),
    Option(
        "num_batches",
        int,
        "Number of batches.",
        "batches",
        default=NUM_BATCHES,
        parse=check_at_least_one,
        panel=_PROBED,
    ),
    Option(
        "batch_size",
        int,
        "Pairs of states in a batch.",
        default=BATCH_SIZE,
        parse=check_at_least_one,
        panel=_PROBED,
    ),
    Option(
        "num_members",
        int | None,
        "Members; default those of --loss-config, else 2, and 1 for a deterministic checkpoint.",
        "ensemble",
        panel=_PROBED,
    ),
    Option(
        "input_noise",
        float,
        "Standard deviation of noise on the state, in units of its normalization.",
        default=0.0,
        panel=_PROBED,
    ),
    Option("seed", int, "Seed of the drawn pairs and of the noise.", default=0, panel=_PROBED),
)

#: The file of a training's loss.
LOSS_CONFIG = Option(
    "loss_config",
    Path | None,
    "YAML file with fme's loss section (type EnsembleLoss), or a training configuration that holds it; in "
    "the place of all options below.",
    panel=_LOSS,
    metavar="FILE",
)

#: Fields of `LossWeights`.
LOSS: tuple[Option, ...] = (
    Option("crps", float | None, "Weight of the CRPS; default 0.9.", "crps_weight", panel=_LOSS),
    Option(
        "energy_score",
        float | None,
        "Weight of the spectral term; default 0.1.",
        "energy_score_weight",
        panel=_LOSS,
    ),
    Option(
        "finite_difference_crps",
        float | None,
        "Weight of the CRPS of finite differences; default 0.",
        "finite_difference_weight",
        panel=_LOSS,
    ),
    Option(
        "finite_difference_levels",
        int | None,
        "Levels of the finite differences, each twice as coarse; default 1.",
        panel=_LOSS,
    ),
    Option("alpha", float | None, "Of the almost-fair CRPS; 1 is fair; default 0.95.", panel=_LOSS),
)


def _least(flag: str, given: bool) -> str | None:
    return "trajectories" if given else None


RECOMPUTE = Option(
    "recompute",
    bool | None,
    "Take as little memory as possible: run each trajectory, and each block of the network, again on the way "
    "back. Without it, what does not fit into memory runs again.",
    "checkpoint_activations",
    flags=("--checkpoint-activations",),
    parse=_least,
    panel=COMPUTE,
)
