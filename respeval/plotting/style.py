"""Sizes, colours and parts that all figures share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from respeval.output import publish

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINE_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
BASELINE_COLOR = "0.25"
WIDTH_INCHES = 7.2
FONT_SIZE = 9.0
SMALL_FONT_SIZE = 8.0
DOTS_PER_INCH = 200


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, whole or not at all; see `output.publish`."""
    publish(path, lambda temporary: figure.savefig(temporary, format="png", dpi=DOTS_PER_INCH))
    return path


def make_panels(
    num_rows: int, num_columns: int, height: float, width: float = WIDTH_INCHES, **options: Any
) -> tuple[Figure, list[Axes]]:
    """A figure of so many panels, inches, and the panels row by row."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    panels = figure.subplots(num_rows, num_columns, squeeze=False, **options).ravel().tolist()
    for panel in panels:
        panel.tick_params(labelsize=SMALL_FONT_SIZE)
        panel.spines[["top", "right"]].set_visible(False)
    return figure, panels


def set_title(panel: Axes, title: str, remark: str = "") -> None:
    panel.set_title(title, loc="left", fontsize=FONT_SIZE, fontweight="bold")
    panel.set_title(remark, loc="right", fontsize=SMALL_FONT_SIZE, color="0.35")


def legend_below(figure: Figure, panel: Axes, num_columns: int = 8) -> None:
    """One legend under all panels, with the labels of one of them."""
    handles, names = panel.get_legend_handles_labels()
    figure.legend(
        handles,
        names,
        loc="outside lower center",
        ncols=num_columns,
        frameon=False,
        fontsize=FONT_SIZE,
        columnspacing=1.4,
        handletextpad=0.5,
    )


def line_colors(number: int) -> list[str]:
    return [LINE_COLORS[i % len(LINE_COLORS)] for i in range(number)]


def point_style(color: str, **options: Any) -> dict[str, Any]:
    return {"color": color, "ms": 4.5, "lw": 1.5, "elinewidth": 1.1, "capsize": 2, **options}


def perturbation_labels(dataset: xr.Dataset) -> list[str]:
    """The perturbations' labels. Raises ValueError where there is none to draw."""
    labels = [str(label) for label in dataset["perturbation"].values]
    if not labels:
        raise ValueError("there is no perturbation to draw")
    return labels


def units(values: xr.DataArray) -> str:
    return str(values.attrs.get("units", "1"))


def sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def axis_label(values: xr.DataArray) -> str:
    return f"{sentence(str(values.attrs.get('long_name', values.name)))} ({units(values)})"
