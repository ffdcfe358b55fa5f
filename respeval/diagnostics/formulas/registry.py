"""Every diagnostic by its name: those that the modules of this folder declare, and those of packages.

A package brings one through the entry-point group `respeval.diagnostics`: the entry point's name is the
diagnostic's name, its value a `Diagnostic`. Nothing of it is imported before diagnostics are asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from respeval.diagnostics.formulas.diagnostic import SEASONAL_DIMS, Diagnostic
from respeval.errors import InputError
from respeval.interpreter import load_entry, offered, package_of

GROUP = "respeval.diagnostics"

#: Modules in the order of diagnostics.nc; others follow by their names.
_ORDER = "warming per_kelvin energy humidity hemispheres globe boxes linearity drift"


def _of_modules() -> dict[str, Diagnostic]:
    """What the modules of this folder declare, in order."""
    present = {module.name for module in iter_modules([str(Path(__file__).parent)])}
    found: dict[str, Diagnostic] = {}
    ordered = _ORDER.split()
    for name in (*ordered, *sorted(present - {*ordered, "registry"})):
        for value in vars(import_module(f"{__package__}.{name}")).values():
            if isinstance(value, Diagnostic) and found.setdefault(value.name, value) is not value:
                raise ValueError(f"{value.name} is declared twice, once more in {name}")
    return found


#: Respeval's own, trends among them.
OWN: dict[str, Diagnostic] = _of_modules()


@cache
def declared() -> Mapping[str, Diagnostic]:
    """Name -> diagnostic: respeval's own, then those of installed packages; trends among them.

    Raises InputError where a package's can't be loaded, or takes a name that is taken.
    """
    taken = {*OWN, *(d.by(dim).name for d in OWN.values() if d.by_season for dim in SEASONAL_DIMS)}
    found = dict(OWN)
    for name, entry in sorted(offered(GROUP, "diagnostic", taken).items()):
        found[name] = load_entry(entry, "diagnostic", Diagnostic)
        if found[name].name != name:
            raise InputError(
                f"{package_of(entry)} brings the diagnostic {found[name].name!r} under the entry point "
                f"{name!r}: one of the two must be called as the other"
            )
    return found


def known_diagnostics() -> dict[str, Diagnostic]:
    """Those of `declared` that are of a response."""
    return {name: each for name, each in declared().items() if not each.is_trend}


def known_trends() -> dict[str, Diagnostic]:
    """Those of `declared` that are of means of whole years."""
    return {name: each for name, each in declared().items() if each.is_trend}
