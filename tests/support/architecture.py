"""The house in one list and one picture: `make picture` writes docs/images/architecture.svg.

The picture shows the five storeys with their wings, and the two ways of the data through them.
`tests/test_house.py` holds the imports against the list, `tests/test_docs.py` the page and the picture.
"""

from __future__ import annotations

from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support import ROOT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Storey -> its wings, from the ground up: a module imports only from wings before its own in this
#: order, and from its own.
STOREYS: dict[str, tuple[str, ...]] = {
    "ground": ("errors", "interpreter", "files", "distributed"),
    "model and world": ("fields", "emulator", "checkpoints", "diagnostics"),
    "run": ("rollout", "case", "run_folder", "plan", "runner"),
    "answers": ("plotting", "analysis", "loss_probe", "aimip", "planet"),
    "door": ("presentation", "api", "commands", "cli", "__main__"),
}

PICTURE = ROOT / "docs" / "images" / "architecture.svg"

#: Wing -> its place from the left in columns, its width in columns, and what it is for.
WINGS: dict[str, tuple[float, float, str]] = {
    "errors": (0, 1.25, "how a command can end"),
    "interpreter": (1.25, 1.25, "late imports, freed memory"),
    "files": (2.5, 1.25, "read without trust,\nappear whole"),
    "distributed": (3.75, 1.25, "all that is known of\nother processes"),
    "emulator": (0, 1, "what a model is,\nits noise"),
    "checkpoints": (1, 1, "a file becomes\nan emulator"),
    "fields": (2, 1, "grids, forcing,\nchanges of SST"),
    "diagnostics": (3, 2, "means to response and diagnostics,\neach with its interval"),
    "case": (0, 1, "what a run\nis asked for"),
    "plan": (1, 1, "all is opened\nand checked"),
    "rollout": (2, 1, "all climates step\nas one batch"),
    "runner": (3, 1, "drives it, reduces\neach segment"),
    "run_folder": (4, 1, "segments, restart,\nmanifest"),
    "planet": (0, 1, "a climate with\na known answer"),
    "aimip": (1, 1, "CMIP files of\na run"),
    "loss_probe": (2, 1, "gradient of every\narm by degree"),
    "plotting": (3, 1, "figures from\nsaved files"),
    "analysis": (4, 1, "one run, or many\nbeside each other"),
    "__main__": (0, 0.8, "python -m\nrespeval"),
    "cli": (0.8, 0.7, "options in"),
    "commands": (1.5, 0.75, "a file for\neach command"),
    "api": (2.25, 0.75, "import\nrespeval"),
    "presentation": (3, 1, "tables, progress,\nthe report"),
}

#: The stops of each way, in the order in which the data comes through.
RUN = ["case", "checkpoints", "fields", "plan", "rollout", "runner", "run_folder", "analysis"]
RUN += ["plotting", "presentation"]
PROBE = ["checkpoints", "fields", "loss_probe", "plotting", "presentation"]

#: Each way has a colour of Okabe and Ito's set for the colour-blind, a kind of line, and a shape of
#: number. Nothing of the package is imported here: the house is looked at from outside.
_STYLES: dict[str, dict[str, Any]] = {
    "run": {"color": "#0072B2", "linestyle": "-"},
    "probe": {"color": "#D55E00", "linestyle": (0, (4, 1.5))},
    "call": {"color": "0.45", "linestyle": "-", "lw": 1.0},
}
_NUMBER_SHAPES = {"run": "circle,pad=0.18", "probe": "square,pad=0.2"}

# Inches.
_WIDTH, _LEFT, _COLUMN, _GAP = 8.3, 1.0, 1.44, 0.2
_BOX, _STOREY, _PITCH, _STREET, _BOTTOM = 0.6, 0.8, 1.06, 0.42, 0.08
_HEIGHT = _BOTTOM + 4 * _PITCH + _STREET + _STOREY + 0.38


def draw() -> bytes:
    """The picture as SVG; the same bytes each time with the same matplotlib."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.fonttype": "path", "svg.hashsalt": "respeval"}):
        figure = Figure(figsize=(_WIDTH, _HEIGHT), facecolor="white")
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, _WIDTH), ylim=(0, _HEIGHT))
        axes.axis("off")
        _draw_storeys(axes)
        _draw_files(axes)
        _draw_ways(axes)
        _draw_key(axes)
        written = BytesIO()
        FigureCanvasSVG(figure).print_svg(written, metadata={"Date": None, "Creator": None})
    return written.getvalue()


def _draw_storeys(axes: Axes) -> None:
    from matplotlib.patches import FancyBboxPatch, Rectangle

    for number, (storey, wings) in enumerate(STOREYS.items()):
        low = _floor(number) - (_STOREY - _BOX) / 2
        axes.add_patch(Rectangle((0.04, low), _WIDTH - 0.08, _STOREY, fc="0.94", ec="none"))
        name = f"{number + 1}  " + storey.replace(" ", "\n    ")
        axes.text(0.12, low + _STOREY / 2, name, fontsize=8.5, va="center", color="0.25")
        for wing in wings:
            left, width, job = WINGS[wing]
            x, y = _x(left), _floor(number)
            box = FancyBboxPatch(
                (x, y),
                width * _COLUMN - _GAP,
                _BOX,
                boxstyle="round,pad=0,rounding_size=0.06",
                fc="white",
                ec="0.45",
                lw=0.9,
                gid=f"wing-{wing}",
                zorder=2,
            )
            axes.add_patch(box)
            middle = x + (width * _COLUMN - _GAP) / 2
            words = {"ha": "center", "va": "center", "zorder": 3}
            axes.text(middle, y + 0.475, wing, fontsize=9, fontweight="bold", **words)
            axes.text(middle, y + 0.2, job, fontsize=7.8, color="0.15", linespacing=1.15, **words)


def _draw_files(axes: Axes) -> None:
    """What comes in from the street, and what goes out of the door."""
    street = _floor(1) - (_STOREY - _BOX) / 2 - 0.36
    for left, width, text in (
        (0, 1, "case.yaml"),
        (1, 1, "checkpoint"),
        (2, 1.7, "forcing, states, training data"),
    ):
        _draw_file(axes, _x(left), street, width * _COLUMN - _GAP, 0.24, text)
    _draw_file(
        axes, _x(4), _floor(4), _COLUMN - _GAP, _BOX, "netCDF, figures,\nsummary.json,\nreport.html"
    )


def _draw_file(axes: Axes, x: float, y: float, width: float, height: float, text: str) -> None:
    from matplotlib.patches import Polygon

    fold = 0.09
    top, right = y + height, x + width
    corners = [(x, y), (right, y), (right, top - fold), (right - fold, top), (x, top)]
    axes.add_patch(Polygon(corners, fc="#FFF8E0", ec="0.45", lw=0.8, zorder=2))
    place = {"ha": "center", "va": "center", "zorder": 3}
    axes.text(x + width / 2, y + height / 2, text, fontsize=7.8, color="0.15", **place)


def _draw_ways(axes: Axes) -> None:
    beside = 0.09
    street = _floor(1) - (_STOREY - _BOX) / 2 - 0.24
    gutter = _LEFT - 0.1
    shaft = _x(2) - _GAP / 2
    lane = _floor(3) - (_STOREY - _BOX) / 2 - 0.13
    side = _x(4) - _GAP / 2

    _way(axes, "run", (_x(0), street), (gutter, street), (gutter, _floor(2) + 0.3), _left("case"))
    for wing in ("checkpoints", "fields"):
        for way, x in (("run", _middle(wing) - beside), ("probe", _middle(wing) + beside)):
            _way(axes, way, (x, street + 0.12), (x, _floor(1)))
    _way(axes, "run", _above("checkpoints"), _below("plan"))
    _way(axes, "run", _above("fields"), _below("rollout"))
    for first, second in pairwise(["case", "plan", "rollout", "runner", "run_folder"]):
        _way(axes, "run", _right(first), _left(second))
    _way(axes, "run", _above("run_folder"), _below("analysis"))
    _way(axes, "run", _left("analysis"), _right("plotting"))
    _way(axes, "run", _above("plotting", -beside), _below("presentation", -beside))

    for x, y in (_right("checkpoints"), _left("fields")):
        _way(axes, "probe", (x, y), (shaft, y), head=False)
    _way(
        axes,
        "probe",
        (shaft, _floor(1) + 0.3),
        (shaft, lane),
        (_middle("loss_probe"), lane),
        _below("loss_probe"),
    )
    _way(axes, "probe", _right("loss_probe"), _left("plotting"))
    _way(axes, "probe", _above("plotting", beside), _below("presentation", beside))

    x, y = _below("analysis", -0.35)
    _way(axes, "call", (x, y), (x, lane), (side, lane), (side, _floor(1) + _BOX))
    axes.text(side + 0.06, _floor(2) - 0.23, "asks", fontsize=7.8, color="0.25", va="center")

    x, y = _right("presentation")
    _way(axes, "run", (x, y + beside), (_x(4), y + beside))
    _way(axes, "probe", (x, y - beside), (_x(4), y - beside))
    for way, stops in (("run", RUN), ("probe", PROBE)):
        for number, wing in enumerate(stops, start=1):
            _draw_number(axes, way, number, wing)


def _way(axes: Axes, way: str, *points: tuple[float, float], head: bool = True) -> None:
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path as Line

    axes.add_patch(
        FancyArrowPatch(
            path=Line(points),
            arrowstyle="-|>,head_length=0.4,head_width=0.2" if head else "-",
            mutation_scale=9,
            shrinkA=0,
            shrinkB=0,
            capstyle="butt",
            joinstyle="round",
            zorder=4,
            **{"lw": 1.8, **_STYLES[way]},
        )
    )


def _draw_number(axes: Axes, way: str, number: int, wing: str) -> None:
    left, width, _ = WINGS[wing]
    x = _x(left) + (0.03 if way == "run" else width * _COLUMN - _GAP - 0.03)
    y = _floor(_storey_of(wing)) + _BOX - 0.03
    box = {"boxstyle": _NUMBER_SHAPES[way], "fc": _STYLES[way]["color"], "ec": "white", "lw": 0.8}
    place = {"ha": "center", "va": "center", "zorder": 6}
    axes.text(x, y, f"{number}", fontsize=6.8, fontweight="bold", color="white", bbox=box, **place)


def _draw_key(axes: Axes) -> None:
    y = _HEIGHT - 0.2
    for x, way, text in ((_LEFT, "run", "respeval run"), (3.2, "probe", "respeval gradient-probe")):
        _way(axes, way, (x, y), (x + 0.55, y))
        axes.text(x + 0.63, y, text, fontsize=8.5, va="center")


def _x(column: float) -> float:
    return _LEFT + column * _COLUMN


def _floor(number: int) -> float:
    """Where the boxes of a storey stand; the street runs above the ground."""
    return _BOTTOM + (_STOREY - _BOX) / 2 + number * _PITCH + (_STREET if number else 0.0)


def _storey_of(wing: str) -> int:
    return next(i for i, wings in enumerate(STOREYS.values()) if wing in wings)


def _middle(wing: str) -> float:
    left, width, _ = WINGS[wing]
    return _x(left) + (width * _COLUMN - _GAP) / 2


def _below(wing: str, beside: float = 0.0) -> tuple[float, float]:
    return _middle(wing) + beside, _floor(_storey_of(wing))


def _above(wing: str, beside: float = 0.0) -> tuple[float, float]:
    return _middle(wing) + beside, _floor(_storey_of(wing)) + _BOX


def _left(wing: str) -> tuple[float, float]:
    return _x(WINGS[wing][0]), _floor(_storey_of(wing)) + _BOX / 2


def _right(wing: str) -> tuple[float, float]:
    left, width, _ = WINGS[wing]
    return _x(left + width) - _GAP, _floor(_storey_of(wing)) + _BOX / 2


def main() -> None:
    PICTURE.write_bytes(draw())
    print(f"wrote {Path(PICTURE).relative_to(ROOT)}")


if __name__ == "__main__":
    main()
