"""One model over several processes: what each of them holds, sends, and takes for a step."""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.frame import Benchmark, Goal, Options, Outcome, Table, spread
from benchmarks.model_size import FLOAT, WHOLE, Coefficients, Layout, Line, ModelSize
from benchmarks.processes import watched
from benchmarks.studies import Size, write_native

LAUNCHER = ("-m", "torch.distributed.run", "--standalone")

LAYOUTS = (WHOLE, Layout(2, 1), Layout(1, 2), Layout(2, 2))

#: Those with a process for each of two cores.
TIMED = LAYOUTS[:3]

#: Those whose coefficients are kept, for models of other sizes.
KEPT = tuple(
    Layout.parse(text)
    for text in ("1x1", "2x1", "1x2", "4x1", "2x2", "8x1", "4x2", "16x1", "8x2", "4x4")
)

#: The grid that coefficients are found on, two widths of networks there, and their layers.
SMALL, CHANNELS, NUM_SMALL_LAYERS = (32, 64), (16, 48), 3

NUM_STEPS = 5

#: Tensors by checkpoint and layout, as `split_memory` reports them.
Tensors = list[dict[str, Any]]


@dataclass(frozen=True)
class Timed:
    """Steps of one layout, a dictionary of `Stepped` for each process."""

    layout: Layout
    processes: list[dict[str, Any]]

    @property
    def seconds(self) -> float:
        """Of a step, of the slowest process."""
        return max(statistics.median(process["step_s"]) for process in self.processes)

    def most(self, what: str) -> int:
        return max(process[what] for process in self.processes)


def model_of(options: Options) -> ModelSize:
    return ModelSize((16, 32), 8, 2) if options.quick else ModelSize((180, 360), 128, 2)


def written(path: Path, model: ModelSize) -> Path:
    return write_native(path, Size(model.shape, model.embed_dim, model.num_layers, 1, "1 step"))


def stepped(checkpoint: Path, layout: Layout, num_steps: int) -> Timed:
    several = (*LAUNCHER, f"--nproc-per-node={layout.size}") if layout.size > 1 else ()
    arguments = (checkpoint, layout.height, layout.width, num_steps)
    _, found = watched("split_loop", *map(str, arguments), python=(sys.executable, *several))
    return Timed(layout, list(found))


def tensors(
    checkpoints: Sequence[Path], layouts: Sequence[Layout], *options: str
) -> dict[Layout, list[dict[str, Any]]]:
    """Layout -> `Tensors` of each checkpoint."""
    asked = [f"--layout={layout}" for layout in layouts]
    _, found = watched("split_memory", *options, *asked, *map(str, checkpoints))
    told: Any = found
    return {layout: [entry[str(layout)] for entry in told] for layout in layouts}


def fit(
    models: Sequence[ModelSize], found: Sequence[dict[str, Any]], layout: Layout
) -> Coefficients:
    """From two networks of different widths on one grid."""

    def line(values: Sequence[float]) -> Line:
        first, second = (
            (model.embed_dim, value / FLOAT / model.cells(layout))
            for model, value in zip(models, values, strict=True)
        )
        return Line.through(first, second)

    probes = [entry["probe"] for entry in found]
    return Coefficients(
        line([entry["activations"] for entry in found]),
        line([probe["beside"] for probe in probes]),
        line([probe["inputs"] / len(probe["inside"]) for probe in probes]),
        line([probe["inside"][0] for probe in probes]),
        line([probe["inside"][-1] for probe in probes]),
        line([probe["work"] for probe in probes]),
    )


def traffic(model: ModelSize, once: Mapping[Layout, Timed]) -> tuple[Table, float]:
    """The table, and how far the ratio is from 1 at most."""
    rows, furthest = [], 0.0
    for layout, timed in once.items():
        parts = model.sent(layout)
        formula = sum(parts)
        ratios = [p["sent"] / formula for p in timed.processes] if formula else [1.0]
        furthest = max([furthest, *(abs(ratio - 1.0) for ratio in ratios)])
        shown = (*parts, timed.most("sent"))
        cells = (f"{number / 2**20:.1f}" for number in shown)
        ratio = f"{max(ratios):.4f}" if formula else ""
        rows.append((str(layout), *cells, ratio, str(timed.most("calls"))))
    header = ("layout", "latitude", "longitude", "measured", "ratio", "calls")
    title = "Sent by a process in a step, MiB: formula and count"
    return Table(title, header, rows), furthest


def memory(
    model: ModelSize,
    found: Mapping[Layout, dict[str, Any]],
    kept: Mapping[Layout, Coefficients],
    once: Mapping[Layout, Timed],
) -> tuple[Table, float]:
    """The table, and how far the model of `model_size` is from it at most, as a fraction."""
    rows, furthest = [], 0.0
    for layout, entry in found.items():
        parts = [entry[name] for name in ("weights", "tables", "activations")]
        told = (
            *(model.weights(layout), model.tables(layout)),
            model.activations(layout, kept[layout]),
        )
        errors = [told_bytes / part - 1.0 for told_bytes, part in zip(told, parts, strict=True)]
        furthest = max(furthest, *map(abs, errors))
        rows.append(
            (
                str(layout),
                *(f"{part / 2**20:.1f}" for part in parts),
                f"{sum(parts) / total_of(found[WHOLE]):.2f}",
                f"{100 * errors[2]:+.1f} %",
                f"{once[layout].most('peak') / 2**20:.0f}",
            )
        )
    header = ("layout", "weights", "tables", "activations", "of 1x1", "model", "step in the system")
    return Table("Memory of a process, one member, MiB", header, rows), furthest


def total_of(entry: Mapping[str, Any]) -> int:
    return sum(int(entry[name]) for name in ("weights", "tables", "activations"))


def per_cell(kept: Mapping[Layout, Coefficients]) -> Table:
    """What is kept for models of other sizes."""
    rows = []
    for layout, found in kept.items():
        step, again = found.activations.by_channel, found.inputs.by_channel
        inside, shared = found.inside.by_channel, found.activations.by_channel / layout.size
        numbers = (step, shared, again, inside)
        rows.append((str(layout), *(f"{number:.2f}" for number in numbers)))
    header = ("layout", "a step holds", "of the whole grid", "a block's input", "a block keeps")
    return Table("Numbers per channel and cell of a process's block", header, rows)


def probe_table(found: Mapping[Layout, list[dict[str, Any]]]) -> tuple[Table, float]:
    """What probes take, and what they say of it beforehand; and the least ratio of the two."""
    rows, ratios = [], []
    for layout, entries in found.items():
        probe = entries[-1]["probe"]
        cells = []
        for what in ("kept", "again"):
            ratios.append(probe[f"told_{what}"] / probe[what])
            cells += [f"{probe[what] / 2**20:.1f}", f"{ratios[-1]:.2f}"]
        rows.append((str(layout), *cells))
    title = f"A probe of one pair, {SMALL[0]} x {SMALL[1]}, embed {CHANNELS[-1]}, MiB"
    header = ("layout", "all kept", "it says, of that", "blocks run again", "it says, of that")
    return Table(title, header, rows), min(ratios)


def times(rounds: Sequence[Mapping[Layout, Timed]]) -> tuple[Table, dict[Layout, float]]:
    """The table, and by layout the median of the ratio of one process's seconds to its own."""
    rows, speed_ups = [], {}
    for layout in rounds[0]:
        seconds = [found[layout].seconds for found in rounds]
        ratios = [found[WHOLE].seconds / found[layout].seconds for found in rounds]
        speed_ups[layout] = statistics.median(ratios)
        ratio = "" if layout == WHOLE else spread(ratios)
        rows.append((str(layout), str(layout.size), spread(seconds), ratio))
    header = ("layout", "processes", "s", "speed-up")
    return Table("Seconds of a step, one member", header, rows), speed_ups


def measure(options: Options, folder: Path) -> dict[str, Any]:
    """Everything, by what it is."""
    model = model_of(options)
    layouts = KEPT[:5] if options.quick else KEPT
    small = [ModelSize(SMALL, width, NUM_SMALL_LAYERS) for width in CHANNELS]
    checkpoint = written(folder / "sfno.pt", model)
    others = [written(folder / f"{m.embed_dim}.pt", m) for m in small]
    of_small = tensors(others, layouts, "--probe")
    own = {layout: found[0] for layout, found in tensors([checkpoint], LAYOUTS).items()}
    num_steps = 1 if options.quick else NUM_STEPS
    rounds = []
    for number in range(1 if options.quick else options.rounds):
        order = TIMED if number % 2 == 0 else TIMED[::-1]
        taken = {layout: stepped(checkpoint, layout, num_steps) for layout in order}
        rounds.append({layout: taken[layout] for layout in TIMED})
    once = {**rounds[0], LAYOUTS[-1]: stepped(checkpoint, LAYOUTS[-1], 1)}
    kept = {layout: fit(small, found, layout) for layout, found in of_small.items()}
    return {
        "model": model,
        "small": of_small,
        "own": own,
        "rounds": rounds,
        "once": once,
        "kept": kept,
    }


def run(options: Options) -> Outcome:
    with tempfile.TemporaryDirectory() as name:
        found = measure(options, Path(name))
    model, own, kept, once = (found[name] for name in ("model", "own", "kept", "once"))
    sending, off = traffic(model, once)
    holding, error = memory(model, own, kept, once)
    probing, least = probe_table(found["small"])
    timing, speed_ups = times(found["rounds"])
    half = total_of(own[Layout(2, 1)]) / total_of(own[WHOLE])
    goals = [
        Goal("bytes sent over the formula's: furthest from 1", off, 0.01),
        Goal("memory of the model over that of its tensors: furthest from 1", error, 0.02),
        Goal("memory of 2x1, of that of 1x1", half, 0.55),
        Goal("probes: what they say of their memory, of what they take", least, 1.0, at_least=True),
        *(
            Goal(f"{layout}: speed-up on two cores", speed_ups[layout], 1.5, at_least=True)
            for layout in TIMED[1:]
        ),
    ]
    numbers = {
        "coefficients": {str(layout): asdict(lines) for layout, lines in kept.items()},
        "tensors": {str(layout): entry for layout, entry in own.items()},
        "probes": {str(layout): entries for layout, entries in found["small"].items()},
        "steps": [
            {str(layout): timed.processes for layout, timed in taken.items()}
            for taken in (*found["rounds"], once)
        ],
    }
    return Outcome([sending, holding, timing, per_cell(kept), probing], goals, (), numbers)


BENCHMARK = Benchmark(
    "One model over several processes",
    "`--spatial`: a native SFNO of 180 x 360, embed 128, 2 layers, one member, over gloo. What leaves a "
    "process is counted in torch's collectives, beside the formula that `benchmarks/model_size.py` derives. "
    "Weights, tables of the transforms, and activations, the most that a step holds beside them, are bytes "
    "of tensors as torch counts them, those within its operators too, of the process with the largest share. "
    "Exchanges are left out there; what a step adds to the process as the system sees it, with gloo's "
    "buffers and what is freed and not given back, is the last column. `model` is how far from the "
    "activations that is which [How many GPUs do I need?](gpus.md) reckons with, found with 16 and 48 "
    "channels at 32 x 64. Steps are timed with one thread a process. The two processes share the memory of "
    "one machine with two cores, which is why 2x2 is not timed: how fast split fields are on GPUs, over NCCL "
    "or from node to node, has not been measured. The last table is of probes with two members and two arms: "
    "what their tensors take beside the model, and what the probe's own formula has for that.",
    run,
)
