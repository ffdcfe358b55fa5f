"""The figure of how outputs agree with a reference, against the numbers that it was made from."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from respeval.diagnostics.agreement import AGREEMENT, described_agreement
from respeval.plotting import agreement_with_reference

LABELS = ("p2K", "p4K")
LONG_NAMES = {"T": "air temperature", "rain": "rain " * 12 + "rate", "top": "temperature aloft"}


def made(noise: bool) -> xr.Dataset:
    """Three outputs; the reference's `top` is everywhere the same. noise: whether it is known."""
    coords = {"perturbation": list(LABELS), "region": ["globe", "land", "ocean"]}
    numbers = {
        "pattern_correlation": 0.8,
        "pattern_correlation_corrected": 0.9 if noise else np.nan,
        "rmse_centred": 0.6,
        "rmse_centred_corrected": 0.4 if noise else np.nan,
        "reference_spread": 2.0,
    }
    parts = {}
    for name, long_name in LONG_NAMES.items():
        own = {**numbers, **({"pattern_correlation": np.nan, "reference_spread": 0.0})}
        own = own if name == "top" else numbers
        found = xr.Dataset(
            {key: (tuple(coords), np.full((2, 3), own.get(key, 0.0))) for key in AGREEMENT}, coords
        )
        parts |= described_agreement(found, name, {"long_name": long_name, "units": "K"})
    return xr.Dataset(parts)


def rows(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].get_yticklabels()]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_rows_have_long_names_and_none_is_empty() -> None:
    figure = agreement_with_reference(made(noise=False))
    first, second = rows(figure)
    assert first == "Air temperature"
    assert second.replace("\n", " ") == "R" + LONG_NAMES["rain"][1:]
    assert max(map(len, second.split("\n"))) <= 34
    assert figure.axes[1].get_title(loc="right") == "1 more without numbers"
    assert [panel.get_title(loc="left") for panel in figure.axes] == ["a  Pattern", "b  Error"]
    nameless = made(noise=False)
    nameless["T_bias"].attrs.clear()
    assert rows(agreement_with_reference(nameless))[0] == "T"
    every = made(noise=False)
    known = every.drop_vars([f"top_{key}" for key in AGREEMENT])
    assert not agreement_with_reference(known).axes[1].get_title(loc="right")
    assert agreement_with_reference(every[[f"top_{key}" for key in AGREEMENT]]) is None


@pytest.mark.parametrize("noise", [False, True])
def test_strokes_and_lines_are_drawn_and_explained(noise: bool) -> None:
    figure = agreement_with_reference(made(noise))
    always = [*LABELS, "globe", "land", "ocean"]
    assert legend(figure) == [*always, *["effect of sampling noise"] * noise, "perfect response"]
    expected = [(0.8, 0.9), (0.3, 0.2)] if noise else [(0.8, 0.8), (0.3, 0.3)]
    for panel, ends, perfect in zip(figure.axes, expected, (1.0, 0.0), strict=True):
        drawn = [line.get_xdata() for line in panel.lines if line.get_linestyle() == "-"]
        strokes = [x for x in drawn if np.size(x) == 2 and tuple(x) != (perfect, perfect)]
        np.testing.assert_allclose(strokes, [ends] * 12)  # 2 outputs, 2 labels, 3 regions
        dots = [line.get_xdata()[0] for line in panel.lines if np.size(line.get_xdata()) == 1]
        np.testing.assert_allclose(dots, [ends[1]] * 12)
