"""How well a response agrees with another one: errors and pattern correlation, less the noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from respeval.fields.standard_names import temperature_metadata

REGIONS = ("globe", "land", "ocean")


#: Statistic -> what it is of a response and its reference; `units`: the response's, else 1.
AGREEMENT: Mapping[str, str] = {
    "bias": "mean difference from the reference of",
    "bias_stderr": "standard error of the mean difference from the reference of",
    "rmse": "root-mean-square difference from the reference of",
    "rmse_corrected": "root-mean-square difference from the reference without sampling noise of",
    "rmse_noise": "root-mean-square difference that sampling noise alone would make to",
    "rmse_centred": "standard deviation of the difference from the reference of",
    "rmse_centred_corrected": "standard deviation of the difference from the reference without "
    "sampling noise of",
    "pattern_correlation": "pattern correlation with the reference of",
    "pattern_correlation_corrected": "pattern correlation with the reference without sampling "
    "noise of",
    "pattern_ratio": "standard deviation of the pattern over that of the reference of",
    "reference_spread": "standard deviation of the reference's pattern of",
    "within_noise": "whether sampling noise alone explains the difference from the reference of",
}

#: Those that have no units.
WITHOUT_UNITS = (
    "pattern_correlation",
    "pattern_correlation_corrected",
    "pattern_ratio",
    "within_noise",
)

_FLAGS: Mapping[str, object] = {
    "flag_values": np.array([-1, 0, 1], dtype=np.int8),
    "flag_meanings": "not_known beyond_noise within_noise",
}


@dataclass(frozen=True, eq=False)
class Noise:
    """Sampling variances: of the cells, (perturbation, lat, lon), and of the regions' means,
    (perturbation, region). NaN where it is not known."""

    cells: xr.DataArray
    means: xr.DataArray


def agreement(
    response: xr.DataArray,
    reference: xr.DataArray,
    weights: xr.DataArray,
    noise: tuple[Noise, Noise, Noise],
) -> xr.Dataset:
    """`AGREEMENT` of one output, each (perturbation, region).

    With D = response − reference and ⟨ ⟩ the mean over a region: bias ⟨D⟩, MSE ⟨D²⟩, centred MSE
    ⟨(D − ⟨D⟩)²⟩. Noise of variance v adds ⟨v⟩ to the expected MSE, and ⟨v⟩ − var⟨D⟩ to the centred
    one, whatever its correlation in space; that is subtracted, and what is negative then is 0. The
    pattern correlation is that of the deviations from the regions' means; its covariance and its two
    variances are freed of noise in the same way (disattenuation, Spearman 1904, Am. J. Psychol. 15,
    72-101), and it is kept within −1 to 1; NaN where noise is all there is of a pattern.

    response, reference: (perturbation, lat, lon). weights: (region, lat, lon), of which each region's
        sum is 1; NaN where the region has no cell. noise: of the response, of the reference, and of
        their difference.
    """

    def mean(field: xr.DataArray) -> xr.DataArray:
        return (field * weights).sum(("lat", "lon"), skipna=False)

    known = (weights > 0).any("region")
    response, reference = (x.where(known, 0.0) for x in (response, reference))
    difference = response - reference
    bias, mse = mean(difference), mean(difference**2)
    centred = mean((difference - bias) ** 2)
    cells = [mean(part.cells.where(known, 0.0)) for part in noise]
    patterns = [c - part.means for c, part in zip(cells, noise, strict=True)]
    own, other = response - mean(response), reference - mean(reference)
    spread, reference_spread, common = mean(own**2), mean(other**2), mean(own * other)
    shared = 0.5 * (patterns[0] + patterns[1] - patterns[2])
    free = (spread - patterns[0]).clip(min=0.0) * (reference_spread - patterns[1]).clip(min=0.0)
    within = xr.where(mse <= cells[2], 1, 0).where(cells[2].notnull(), -1)
    found = {
        "bias": bias,
        "bias_stderr": noise[2].means ** 0.5,
        "rmse": mse**0.5,
        "rmse_corrected": (mse - cells[2]).clip(min=0.0) ** 0.5,
        "rmse_noise": cells[2] ** 0.5,
        "rmse_centred": centred**0.5,
        "rmse_centred_corrected": (centred - patterns[2]).clip(min=0.0) ** 0.5,
        "pattern_correlation": _over(common, (spread * reference_spread) ** 0.5),
        "pattern_correlation_corrected": _over(common - shared, free**0.5).clip(-1.0, 1.0),
        "pattern_ratio": _over(spread**0.5, reference_spread**0.5),
        "reference_spread": reference_spread**0.5,
        "within_noise": within.where(mse.notnull(), -1).astype(np.int8),
    }
    return xr.Dataset({name: found[name].transpose("perturbation", "region") for name in AGREEMENT})


def described_agreement(
    found: xr.Dataset, name: str, attributes: Mapping[str, str]
) -> dict[str, xr.DataArray]:
    """The statistics under `NAME_STATISTIC`, with what CF wants to know of them."""
    quantity = f"the response of {attributes.get('long_name', name)}"
    described = {}
    for statistic, what in AGREEMENT.items():
        units = "1" if statistic in WITHOUT_UNITS else attributes.get("units", "1")
        own = {"long_name": f"{what} {quantity}", "units": units}
        flags = _FLAGS if statistic == "within_noise" else {}
        kind = temperature_metadata(units, "difference")
        values = found[statistic].drop_attrs(deep=False)
        described[f"{name}_{statistic}"] = values.assign_attrs({**own, **flags, **kind})
    return described


def _over(numerator: xr.DataArray, denominator: xr.DataArray) -> xr.DataArray:
    return numerator / denominator.where(denominator > 0)


def compared_outputs(found: xr.Dataset) -> list[str]:
    """The outputs that reference.nc compares."""
    last = "_within_noise"
    return [str(n).removesuffix(last) for n in found.data_vars if str(n).endswith(last)]
