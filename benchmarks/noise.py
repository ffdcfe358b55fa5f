"""Drawing a step's noise, beside numpy's own normal numbers from the same generator."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from benchmarks.frame import Benchmark, Options, Outcome, Table, alternate, spread
from respeval.emulator.noise import CounterNoise

#: Channels, latitudes and longitudes, and members, in pairs with equal noise.
CASES = (((256, 180, 360), 2), ((8, 45, 90), 2), ((4, 24, 48), 2), ((4, 24, 48), 8))

#: At least as many numbers are drawn between two looks at the clock.
_NUMBERS = 2**24

Draw = Callable[[Sequence[tuple[int, int]], int, tuple[int, ...]], None]


def by_numpy(streams: Sequence[tuple[int, int]], step: int, shape: tuple[int, ...]) -> None:
    """The ziggurat of numpy's generator, one stream after the other, copied to each member."""
    drawn = {
        (sample, branch): np.random.Generator(
            np.random.Philox(key=[0, sample], counter=[0, 0, branch, step])
        ).standard_normal(shape, dtype=np.float32)
        for sample, branch in dict.fromkeys(streams)
    }
    np.stack([drawn[stream] for stream in streams])


def by_respeval(streams: Sequence[tuple[int, int]], step: int, shape: tuple[int, ...]) -> None:
    CounterNoise(0, streams, step).normal(*shape)


def seconds(draw: Draw, repeats: int, num_members: int, shape: tuple[int, ...]) -> float:
    """Seconds of one draw."""
    streams = [(member // 2, 0) for member in range(num_members)]
    begun = time.perf_counter()
    for step in range(repeats):
        draw(streams, step, shape)
    return (time.perf_counter() - begun) / repeats


def run(options: Options) -> Outcome:
    rows, numbers = [], {}
    for shape, num_members in CASES:
        count = math.prod(shape) * num_members // 2
        repeats = 1 if options.quick else max(1, _NUMBERS // count)
        given = (repeats, num_members, shape)
        pairs = alternate(
            options.rounds,
            partial(seconds, by_respeval, *given),
            partial(seconds, by_numpy, *given),
        )
        what = f"{' x '.join(map(str, shape))}, {num_members} members"
        numbers[what] = pairs
        rows.append(
            (
                what,
                spread([1e3 * own for own, _ in pairs], ".3g"),
                spread([1e3 * ziggurat for _, ziggurat in pairs], ".3g"),
                f"{statistics.median(own / ziggurat for own, ziggurat in pairs):.2f}",
            )
        )
    header = ("noise of a step", "respeval, ms", "numpy's ziggurat, ms", "ratio")
    return Outcome([Table("On a CPU, one thread", header, rows)], numbers=numbers)


BENCHMARK = Benchmark(
    "Noise",
    "`CounterNoise.normal`, whose numbers are the same bits on every device, beside numpy's "
    "`standard_normal` from the same Philox generator: a ziggurat, which draws again now and then and so is "
    "of no use to a GPU. Members are pairs with equal noise.",
    run,
)
