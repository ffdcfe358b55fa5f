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
    from respeval.api.comparing import Comparison as Comparison
    from respeval.api.comparing import compare as compare
    from respeval.api.inspecting import Inspection as Inspection
    from respeval.api.inspecting import inspect as inspect
    from respeval.api.probing import Probe as Probe
    from respeval.api.probing import probe as probe
    from respeval.api.results import Run as Run
    from respeval.api.results import Sweep as Sweep
    from respeval.api.results import open_run as open  # noqa: F401
    from respeval.api.running import run as run
    from respeval.errors import BlowUpError as BlowUpError
    from respeval.errors import InputError as InputError
    from respeval.errors import StoppedError as StoppedError

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

__all__ = [*_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'respeval' has no attribute {name!r}")
    module, own = _PUBLIC[name]
    found = getattr(import_module(f"respeval.{module}"), own)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
