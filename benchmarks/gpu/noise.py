"""Noise drawn where it is needed, against numbers that numpy draws and the device fetches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from benchmarks.frame import Outcome, Table
from benchmarks.gpu.part import Part
from benchmarks.gpu.setting import Setting
from respeval.emulator.noise import CounterNoise

#: ACE2's channels of noise.
NUM_CHANNELS = 256


def by_numpy(samples: int, shape: tuple[int, ...], device: torch.device) -> torch.Tensor:
    """As many streams of numpy's normal numbers, copied to the device."""
    drawn = [
        np.random.Generator(np.random.Philox(key=[0, sample])).standard_normal(shape, np.float32)
        for sample in range(samples)
    ]
    return torch.stack([torch.from_numpy(numbers).to(device) for numbers in drawn])


def measure(setting: Setting, num_samples: int, shape: tuple[int, ...]) -> dict[str, float]:
    """drawn_s, numpy_s: seconds of a draw. equal: share of numbers with the CPU's bits; differs: most."""
    streams = [(sample, 0) for sample in range(num_samples) for _ in range(2)]

    def draw(device: torch.device) -> torch.Tensor:
        return CounterNoise(0, streams, 0, device).normal(*shape)

    drawn_s = setting.per_call(lambda: draw(setting.device))
    numpy_s = setting.per_call(lambda: by_numpy(num_samples, shape, setting.device))
    got, expected = draw(setting.device).cpu(), draw(torch.device("cpu"))
    equal = (got.view(torch.int32) == expected.view(torch.int32)).double().mean()
    differs = (got - expected).abs().max()
    timed = {"drawn_s": drawn_s, "numpy_s": numpy_s}
    return {**timed, "equal": float(equal), "differs": float(differs)}


def run(setting: Setting) -> Iterator[Outcome]:
    rows, numbers = [], dict[str, Any]()
    for heading, size in setting.sizes.items():
        shape = (8 if setting.quick else NUM_CHANNELS, *size.shape)
        for num_samples in (1, 4):
            found = measure(setting, num_samples, shape)
            times = [found["numpy_s"], found["drawn_s"]]
            name = f"{heading}, samples: {num_samples}"
            shown = (*(f"{1e3 * seconds:.2f}" for seconds in times), f"{times[1] / times[0]:.3f}")
            rows.append((name, *shown, f"{100 * found['equal']:.4f}", f"{found['differs']:.1e}"))
            numbers[name] = found
            header = (
                *("numbers", "numpy, copied, ms", "CounterNoise, ms", "ratio"),
                *("equal to the CPU's, %", "largest difference"),
            )
            title = f"A draw of {shape[0]} channels of noise that two climates share"
            yield Outcome([Table(title, header, rows)], (), (), numbers)


PART = Part(
    "Noise",
    "What a step of a stochastic network with ACE2's 256 channels draws: `CounterNoise` on the device, and "
    "numpy's numbers of as many streams, copied to the device (one thread). Then how many numbers have the "
    "bits that the CPU draws.",
    40.0,
    run,
)
