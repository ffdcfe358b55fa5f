"""Paired warming responses and spectral gradient probes of saved climate emulators.

    import respeval
    run = respeval.run("checkpoint.pt", case="case.yaml", perturb={"p4K": 4.0}, years=10, output="out")
    run = respeval.open("out")

`run`, `open`, `compare`, `probe` and `inspect` do what the commands of these names do, print nothing
unless asked, and raise the errors below. Nothing heavy is loaded before one of them is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from respeval.api.comparing import Comparison, compare
    from respeval.api.inspecting import Inspection, inspect
    from respeval.api.probing import Probe, probe
    from respeval.api.results import Run, Sweep
    from respeval.api.results import open_run as open
    from respeval.api.running import run
    from respeval.errors import BlowUpError, InputError, StoppedError

__all__ = [
    "BlowUpError",
    "Comparison",
    "InputError",
    "Inspection",
    "Probe",
    "Run",
    "StoppedError",
    "Sweep",
    "compare",
    "inspect",
    "open",
    "probe",
    "run",
]

__version__ = "0.1.0"

#: Name -> module, and its name there.
_PUBLIC = {
    "BlowUpError": ("errors", "BlowUpError"),
    "Comparison": ("api.comparing", "Comparison"),
    "InputError": ("errors", "InputError"),
    "Inspection": ("api.inspecting", "Inspection"),
    "Probe": ("api.probing", "Probe"),
    "Run": ("api.results", "Run"),
    "StoppedError": ("errors", "StoppedError"),
    "Sweep": ("api.results", "Sweep"),
    "compare": ("api.comparing", "compare"),
    "inspect": ("api.inspecting", "inspect"),
    "open": ("api.results", "open_run"),
    "probe": ("api.probing", "probe"),
    "run": ("api.running", "run"),
}


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'respeval' has no attribute {name!r}")
    import random

    module, own = _PUBLIC[name]
    state = random.getstate()
    try:
        found = getattr(import_module(f"respeval.{module}"), own)
    finally:
        random.setstate(state)  # some packages draw from it when they are imported
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
