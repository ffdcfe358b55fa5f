"""Sizes, colours and parts that all figures share."""

from __future__ import annotations

import io
import re
import string
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from respeval.fields.grid import FloatArray
from respeval.files.publish import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINE_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
BASELINE_COLOR = "0.25"
WIDTH_INCHES = 7.2
FONT_SIZE = 9.0
SMALL_FONT_SIZE = 8.0
DOTS_PER_INCH = 200


#: Title of a panel.
TITLE_STYLE: dict[str, Any] = {"loc": "left", "fontsize": FONT_SIZE, "fontweight": "bold"}

_INTERVAL_REMARK = "bars: 95 % interval"

#: Digits as they stand in an exponent.
EXPONENT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

#: Nothing of the day or the machine, so that equal figures are equal files.
_METADATA = {"png": {"Software": None}, "pdf": {"CreationDate": None, "Creator": None}}


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG and beside it as PDF, each whole or not at all; see `output.publish`.

    path: of the PNG, which is returned.
    """
    return write_pictures(pictures_of(figure), path)


def pictures_of(figure: Figure) -> dict[str, bytes]:
    """A figure as the files that show it, by suffix: `.png` and `.pdf`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_pdf import FigureCanvasPdf

    # `savefig` would lay the figure out by drawing it once more for each of the files.
    figure.dpi = DOTS_PER_INCH
    png = FigureCanvasAgg(figure)
    layout = figure.get_layout_engine()
    if layout is not None:
        layout.execute(figure)
        figure.set_layout_engine("none")
    found = {".png": io.BytesIO(), ".pdf": io.BytesIO()}
    png.print_png(found[".png"], metadata=_METADATA["png"])  # type: ignore[no-untyped-call]
    pdf = FigureCanvasPdf(figure)
    pdf.print_pdf(found[".pdf"], metadata=_METADATA["pdf"])  # type: ignore[no-untyped-call]
    return {suffix: held.getvalue() for suffix, held in found.items()}


def write_pictures(pictures: Mapping[str, bytes], path: Path) -> Path:
    """Write the files of a figure, and return the path of the PNG, which is given."""
    for suffix, content in pictures.items():
        write_bytes(path.with_suffix(suffix), content)
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
        for side in {"top", "right"} & set(panel.spines):
            panel.spines[side].set_visible(False)
    return figure, panels


def set_title(panel: Axes, title: str, remark: str = "") -> None:
    panel.set_title(title, **TITLE_STYLE)
    panel.set_title(remark, loc="right", fontsize=SMALL_FONT_SIZE, color="0.35")


def set_letters(panels: Sequence[Axes], style: dict[str, Any] = TITLE_STYLE) -> None:
    """Begin the titles of several panels with a, b, c and so on, as far as there are letters."""
    if 1 < len(panels) <= len(string.ascii_lowercase):
        for panel, letter in zip(panels, string.ascii_lowercase, strict=False):
            panel.set_title(f"{letter}  {panel.get_title(loc='left')}", **style)


def reach_of_interval(dataset: xr.Dataset, name: str, where: dict[str, Any]) -> FloatArray | None:
    """How far the 95 % interval of a diagnostic reaches below and above it, [2, …].

    NaN, which draws no bar, where it is unbounded; None where the dataset has no interval. Zero where
    the value lies outside its interval, as a ratio's may by rounding.
    """
    if f"{name}_low" not in dataset:
        return None
    value, low, high = (dataset[f"{name}{end}"].sel(where).values for end in ("", "_low", "_high"))
    reach = np.stack([value - low, high - value])
    return np.where(np.isfinite(reach).all(0), reach.clip(min=0.0), np.nan)


def interval_remark(dataset: xr.Dataset, name: str) -> str:
    """What a figure says of its error bars; nothing where it has none."""
    reach = reach_of_interval(dataset, name, {})
    return "" if reach is None or np.isnan(reach).all() else _INTERVAL_REMARK


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
    """A dot with its bar, whose caps look out behind it however short the bar is."""
    return {"color": color, "ms": 4.5, "lw": 1.5, "elinewidth": 1.1, "capsize": 3.4, **options}


def perturbation_labels(dataset: xr.Dataset) -> list[str]:
    """The perturbations' labels. Raises ValueError where there is none to draw."""
    labels = [str(label) for label in dataset["perturbation"].values]
    if not labels:
        raise ValueError("there is no perturbation to draw")
    return labels


def units(values: xr.DataArray) -> str:
    """The units of an array with exponents as such: W m⁻² of `W m-2`; UDUNITS has no decade."""
    plain = str(values.attrs.get("units", "1")).replace("(10 year)-1", "decade-1")
    return re.sub(r"(?<=[A-Za-z])-?\d+\b", lambda found: found[0].translate(EXPONENT), plain)


def sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def axis_label(values: xr.DataArray) -> str:
    return f"{sentence(str(values.attrs.get('long_name', values.name)))} ({units(values)})"
