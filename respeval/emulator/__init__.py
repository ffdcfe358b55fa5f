"""What an emulator is to the rest of respeval, its noise, and how it computes.

Readers in other packages take these names from here; `computing`, which loads torch, stays apart.
"""

from respeval.emulator.contract import OCEAN_CUTOFF, Emulator, EmulatorSpec, Precision
from respeval.emulator.noise import CounterNoise, NoiseSource
from respeval.fields.variables import DerivedForcing, HybridLevels, Roles, Variable

__all__ = [
    "OCEAN_CUTOFF",
    "CounterNoise",
    "DerivedForcing",
    "Emulator",
    "EmulatorSpec",
    "HybridLevels",
    "NoiseSource",
    "Precision",
    "Roles",
    "Variable",
]
