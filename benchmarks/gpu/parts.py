"""The parts of `make gpu`, in the order in which they run and stand on the page."""

from __future__ import annotations

from importlib import import_module

from benchmarks.gpu.part import Part

#: Each is a module of this folder with a PART.
NAMES = (
    *("checks", "overhead", "climates", "starts", "aggregation", "traffic"),
    *("noise", "probe", "precision", "graphs", "compiling"),
)


def load(name: str) -> Part:
    """A part by its name, or any other one as `module:attribute`."""
    module, _, attribute = name.partition(":")
    where = module if attribute else f"benchmarks.gpu.{module}"
    found: Part = getattr(import_module(where), attribute or "PART")
    return found
