"""The pictures of a folder, in the order of the questions that they answer."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from respeval.errors import InputError, first_line, pass_on
from respeval.presentation.report.parts import Figure
from respeval.run_folder.names import FIGURES

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing


#: Wider pictures are made smaller.
_MOST_PIXELS = 1600

#: A picture of more pixels than this is none of ours, and would fill the memory.
_MOST_AREA = 200_000_000

_DOTS_PER_INCH = 150

_INTERVALS = "Bars and shades are 95 % intervals; strokes, squares and dashes a known response."

#: Name of a figure's file -> the question that it answers, and what is seen.
QUESTIONS: Mapping[str, tuple[str, str]] = {
    "comparison": (
        "How do the runs differ?",
        "Main diagnostics of all runs with 95 % intervals; full dots differ from the first run.",
    ),
    "land_ocean_warming": (
        "Does land warm more than ocean?",
        f"Land and ocean warming by band of latitude, and their ratio. {_INTERVALS}",
    ),
    "column_warming": (
        "Does the upper troposphere warm more than the surface?",
        f"Global-mean warming by level, and the tropical ocean's upper over surface warming. "
        f"{_INTERVALS}",
    ),
    "response_map": (
        "Where does it warm?",
        "Response of near-surface temperature on Mollweide's equal-area map, with the coast. Cells "
        "that are not significant (false discovery rate 0.10) are dotted.",
    ),
    "zonal_mean_warming": (
        "At which latitudes and heights?",
        "Zonal-mean warming by latitude and level. Dots are where the 95 % interval holds zero.",
    ),
    "annual_cycle": (
        "In which season?",
        f"Land and ocean warming by month, and their ratio. {_INTERVALS}",
    ),
    "running": (
        "Has the answer settled?",
        f"Ratios from the years up to each time. {_INTERVALS}",
    ),
    "amplification": (
        "Do the poles and the hemispheres differ?",
        f"Polar over global warming, and land over ocean warming by hemisphere. {_INTERVALS}",
    ),
    "water": (
        "How does water respond?",
        f"Change of precipitation and water path per kelvin, and of humidity. {_INTERVALS}",
    ),
    "energy": (
        "How does the top of the atmosphere respond?",
        f"Change of the net downward flux per kelvin, and its parts. {_INTERVALS}",
    ),
    "teleconnections": (
        "Does warming change what goes with El Niño?",
        "Regression of near-surface temperature and precipitation on the Niño 3.4 index in the baseline, and "
        "its change. Cells that are not significant (false discovery rate 0.10) are dotted.",
    ),
    "linearity": (
        "Is twice the SST change twice the response?",
        f"Response per kelvin of SST change over that of the smallest change. {_INTERVALS}",
    ),
    "reference": (
        "How well does it agree with the reference?",
        "Pattern correlation and centred error of every output's response.",
    ),
    "balance": (
        "Is the run in balance?",
        f"Drift of the baseline and of the response, and residuals of the budgets. {_INTERVALS}",
    ),
    "global_mean_timeseries": (
        "How does it go in time?",
        "Global-mean near-surface temperature of every group, and the response, by segment.",
    ),
    "indices": (
        "Which El Niños and decades were run?",
        "Niño 3.4 and the tripole index of the SST by month: anomalies from each group's own annual cycle.",
    ),
    "gradient_profile": (
        "How much gradient does each degree get?",
        "Gradient of the loss, its signal to noise, weights, update and target by spherical-harmonic "
        "degree, for every arm of the loss.",
    ),
}


#: How the names of figures begin and end that show the maps of many runs beside each other.
_MAP, _ROW = "map_", "_row"


def is_row_of_maps(name: str, label: str) -> bool:
    """Whether a figure shows the maps of many runs under a perturbation, without their differences."""
    return name.startswith(_MAP) and name.endswith(f"_{label}{_ROW}")


def name_of_maps(output: str, label: str) -> str:
    """What a figure is called that shows the maps of an output of many runs beside each other."""
    return f"{_MAP}{output}_{label}{_ROW}"


def _told(name: str) -> tuple[str, str]:
    """Title and caption of a figure."""
    if not name.startswith(_MAP):
        return QUESTIONS.get(name, (name.replace("_", " "), ""))
    shown = name.removeprefix(_MAP).removesuffix(_ROW).replace("_", " ")
    below = "" if name.endswith(_ROW) else " Below are the differences to the first map."
    return (
        f"Where does it respond? {shown}",
        f"Response of every run on one scale, the reference first where there is one; cells that are not "
        f"significant are dotted. Of temperatures the pale colour is the ocean's mean.{below}",
    )


def read_figures(folder: Path) -> list[Figure]:
    """The PNGs in a folder's figures/, those of `QUESTIONS` first.

    Raises InputError where one is no picture.
    """
    found = {path.stem: path for path in sorted((folder / FIGURES).glob("*.png"))}
    order = [name for name in QUESTIONS if name in found]
    order += [name for name in found if name not in QUESTIONS]
    return [_read(found[name]) for name in order]


def _read(path: Path) -> Figure:
    from PIL import Image

    title, caption = _told(path.stem)
    try:
        content = path.read_bytes()
        with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
            if picture.width * picture.height > _MOST_AREA:
                raise InputError(f"{path} has {picture.width} x {picture.height} pixels: too many")
            picture.load()
            size = picture.size
            if picture.width > _MOST_PIXELS:
                size = _MOST_PIXELS, max(1, round(picture.height * _MOST_PIXELS / picture.width))
                smaller = io.BytesIO()
                resized = picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)
                resized.save(smaller, "PNG", optimize=True)
                content = smaller.getvalue()
    except InputError:
        raise
    except Exception as error:  # Pillow raises whatever it likes for a broken file
        pass_on(error)
        reason = first_line(error)
        raise InputError(
            f"{path} is no picture that can be read ({reason}); respeval diagnose draws it anew"
        ) from None
    return Figure(path.stem, title, caption, content, size)


def drawn(figure: Drawing, name: str) -> Figure:
    """A figure that is in no file."""
    title, caption = _told(name)
    written = io.BytesIO()
    figure.savefig(written, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
    width, height = (round(_DOTS_PER_INCH * inches) for inches in figure.get_size_inches())
    return Figure(name, title, caption, written.getvalue(), (width, height))
