"""The tables of docs/gpus.md: memory and traffic of models by size, and layouts that fit a device.

python -m benchmarks.gpus      writes them into the page, from what the benchmark `spatial` kept
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from benchmarks.frame import ROOT
from benchmarks.model_size import WHOLE, Coefficients, Layout, ModelSize, coefficients
from respeval.loss_probe.activations import CHOICES, Recompute

PAGE = ROOT / "docs" / "gpus.md"

MODELS = {
    "1°, 180 x 360": ModelSize((180, 360), 384, 8),
    "0.5°, 360 x 720": ModelSize((360, 720), 384, 8),
    "0.25°, 720 x 1440": ModelSize((720, 1440), 384, 8),
}

#: GiB of the devices that models are to fit.
DEVICES = (40, 80)

#: Of a device's memory, what is taken: a context, libraries and backends need theirs.
SHARE = 0.8

#: Members at a time of the second table's columns: a baseline and three climates.
SEVERAL = 4

#: Of a probe's pair of states: members, and arms.
NUM_MEMBERS, NUM_ARMS = 2, 2

Found = Mapping[Layout, Coefficients]

#: Where a table stands: blank lines around it make it one in Markdown.
_FIRST, _LAST = "<!-- {name}: python -m benchmarks.gpus -->", "<!-- end of {name} -->"


def smallest(needed: Callable[[Layout], int], found: Found, device_GiB: int) -> Layout | None:
    """The fewest parts whose bytes fit a device, as many of them in latitude as can be; None where none
    of those that are known fits."""
    order = sorted(found, key=lambda layout: (layout.size, layout.width))
    room = SHARE * device_GiB * 2**30
    return next((layout for layout in order if needed(layout) <= room), None)


def run_rows(found: Found) -> list[Sequence[str]]:
    rows = []
    for name, model in MODELS.items():

        def needed(layout: Layout, count: int = 1, model: ModelSize = model) -> int:
            return model.run(layout, found[layout], count)

        def of_several(layout: Layout, needed: Callable[..., int] = needed) -> int:
            return needed(layout, SEVERAL)

        own = found[WHOLE]
        parts = (
            model.weights(WHOLE),
            model.tables(WHOLE),
            model.activations(WHOLE, own),
            model.fields(WHOLE),
            needed(WHOLE),
        )
        rows.append(
            (
                name,
                f"{model.num_parameters / 1e6:,.0f} M",
                *map(_GiB, parts),
                *(_told(smallest(needed, found, device), model) for device in DEVICES),
                *(_told(smallest(of_several, found, device), model) for device in DEVICES),
            )
        )
    return rows


def layout_rows(found: Found) -> list[Sequence[str]]:
    """The largest model, in every layout."""
    model = list(MODELS.values())[-1]
    rows = []
    for layout in sorted(found, key=lambda layout: (layout.size, layout.width)):
        held = (
            model.weights(layout),
            model.tables(layout),
            model.member(layout, found[layout]),
            model.run(layout, found[layout]),
            _probe(model, layout, found, "trajectories"),
        )
        sent = model.sent(layout)
        rows.append((str(layout), *map(_GiB, (*held, *sent))))
    return rows


def probe_rows(found: Found) -> list[Sequence[str]]:
    rows = []
    for name, model in MODELS.items():

        def needed(layout: Layout, model: ModelSize = model) -> int:
            return _probe(model, layout, found, "trajectories")

        whole = [_probe(model, WHOLE, found, way) for way in CHOICES]
        fitting = (smallest(needed, found, device) for device in DEVICES)
        rows.append(
            (name, *map(_GiB, whole), *("none of these" if f is None else str(f) for f in fitting))
        )
    return rows


def _probe(model: ModelSize, layout: Layout, found: Found, recompute: Recompute) -> int:
    return model.probe(layout, found[layout], recompute, NUM_MEMBERS, NUM_ARMS)


def _GiB(num_bytes: float) -> str:
    return f"{num_bytes / 2**30:.2f}" if num_bytes < 10 * 2**30 else f"{num_bytes / 2**30:.1f}"


def _told(layout: Layout | None, model: ModelSize) -> str:
    """A layout, and what a process sends in it for a step of a member."""
    if layout is None:
        return "none of these"
    return str(layout) if layout == WHOLE else f"{layout}, {_GiB(sum(model.sent(layout)))}"


def tables() -> dict[str, str]:
    """Name -> table in Markdown."""
    found = coefficients()
    devices = [f"{device} GiB" for device in DEVICES]
    more = [f"{device}, {SEVERAL} at a time" for device in devices]
    return {
        "runs": _markdown(
            (
                *("model", "parameters", "weights", "tables", "a member's step", "its fields"),
                *("in all, 1x1", *devices, *more),
            ),
            run_rows(found),
        ),
        "layouts": _markdown(
            (
                *("layout", "weights", "tables", "a member", "run in all", "probe in all"),
                *("sent across latitudes", "across longitudes"),
            ),
            layout_rows(found),
        ),
        "probes": _markdown(
            ("model", "all kept", "blocks again", "`--checkpoint-activations`", *devices),
            probe_rows(found),
        ),
    }


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def with_tables(page: str) -> str:
    """The page with the tables in their places. Raises AssertionError where it has none for one."""
    for name, table in tables().items():
        first, last = _FIRST.format(name=name), _LAST.format(name=name)
        places = re.findall(f"{re.escape(first)}.*?{re.escape(last)}", page, re.DOTALL)
        assert len(places) == 1, f"{PAGE} has no one place for {name}"
        page = page.replace(places[0], f"{first}\n\n{table}\n\n{last}")
    return page


def main() -> None:
    PAGE.write_text(with_tables(PAGE.read_text()))
    print(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
