"""The profile of a probe as a CF dataset: the content of gradient_profile.nc."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from respeval.files.netcdf import global_attributes
from respeval.loss_probe.profile import FACTOR_QUANTILES, Profile

PROFILE = "gradient_profile.nc"

_ONE = {"units": "1"}
_OVER_BATCHES = {"cell_methods": "batch: mean"}

#: Field of `Profile` -> dimensions and attributes.
VARIABLES: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "grad_rms": (
        ("arm", "layer", "degree"),
        {
            "long_name": "root mean square over batches of the loss's gradient per real filter weight",
            "cell_methods": "batch: root_mean_square",
        },
    ),
    "grad_snr": (
        ("arm", "layer", "degree"),
        {"long_name": "norm of the mean gradient over the spread of gradients between batches"},
    ),
    "weight_rms": (
        ("layer", "degree"),
        {"long_name": "root mean square of the real filter weights"},
    ),
    "relative_update": (
        ("arm", "layer", "degree"),
        {"long_name": "gradient root mean square over weight root mean square"},
    ),
    "energy_score": (
        ("arm", "degree"),
        {"long_name": "part of the spectral term of the loss", **_OVER_BATCHES},
    ),
    "energy_share": (("arm", "degree"), {"long_name": "share of the spectral term of the loss"}),
    "whitening_factor": (
        ("arm", "degree"),
        {
            "long_name": "whitening factor, mean over samples and outputs",
            **_OVER_BATCHES,
        },
    ),
    "whitening_factor_quantiles": (
        ("quantile", "arm", "degree"),
        {"long_name": "quantiles of the whitening factor over samples and outputs"},
    ),
    "output_gradient": (
        ("arm", "degree"),
        {"long_name": "root mean power of the loss's gradient with respect to normalized outputs"},
    ),
    "target_amplitude": (
        ("degree",),
        {"long_name": "root mean square amplitude of a mode of the normalized target"},
    ),
    "loss": (("arm", "batch"), {"long_name": "loss"}),
    "batch_square": (
        ("arm", "batch", "layer", "degree"),
        {"long_name": "mean square of the loss's gradient per real filter weight in a batch"},
    ),
}


def profile_dataset(
    profile: Profile,
    arms: Sequence[str],
    layers: Sequence[str],
    provenance: Mapping[str, Any],
) -> xr.Dataset:
    """gradient_profile.nc: every quantity of the profile with its dimensions and attributes.

    layers: names of the filters. Numbers of the loss have the unit 1: outputs are normalized.
    """
    variables = {
        name: (dims, getattr(profile, name), {**attributes, **_ONE})
        for name, (dims, attributes) in VARIABLES.items()
    }
    num_degrees = profile.grad_rms.shape[-1]
    coordinates = {
        "arm": ("arm", list(arms), {"long_name": "variant of the loss"}),
        "layer": ("layer", list(layers), {"long_name": "spectral filter"}),
        "degree": (
            "degree",
            np.arange(num_degrees),
            {"long_name": "spherical-harmonic degree l", **_ONE},
        ),
        "batch": ("batch", np.arange(profile.loss.shape[1]), {"long_name": "batch", **_ONE}),
        "quantile": ("quantile", list(FACTOR_QUANTILES), {"long_name": "quantile", **_ONE}),
    }
    title = "gradient of the loss by spherical-harmonic degree"
    text = {key: str(value) for key, value in provenance.items()}
    return xr.Dataset(variables, coordinates, global_attributes(title, text))
