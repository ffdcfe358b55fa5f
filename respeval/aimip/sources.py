"""Which outputs make up which CMIP variable, on which levels, and by which factor."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from respeval.errors import InputError
from respeval.fields.grid import FloatArray
from respeval.fields.standard_names import CMIP, CmipVariable, Meaning, conversion, meaning_of


@dataclass(frozen=True)
class Axis:
    """The vertical axis of a variable: pressure levels, or the layers of a model.

    pressure_hPa: [level], from the surface up; of layers, [layer], top first, the nominal one, None
    where it is not known. layer: numbers of the layers, None for pressure levels.
    """

    pressure_hPa: FloatArray | None
    layer: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Target:
    """A CMIP variable and the outputs that it is made of, one for each level: factor·x + offset."""

    cmip: CmipVariable
    outputs: tuple[str, ...]
    units: str
    factor: float
    offset: float
    axis: Axis | None = None
    comment: str | None = None

    def convert(self, fields: FloatArray) -> FloatArray:
        """Outputs [level or 1, lat, lon] in their own units to the CMIP variable's."""
        return self.factor * fields + self.offset


@dataclass(frozen=True)
class _Source:
    output: str
    meaning: Meaning
    units: str
    factor: float
    offset: float


def parse_map(texts: Sequence[str] | None) -> dict[str, tuple[str, float | None, float | None]]:
    """`OURS=CMIP[@HPA][:FACTOR]`: output -> CMIP's name, level in hPa, factor.

    Raises InputError for anything else, and for a name that CMIP's table here does not have.
    """
    found: dict[str, tuple[str, float | None, float | None]] = {}
    for text in texts or ():
        parts = re.fullmatch(r"([^=]+)=(\w+)(?:@([\d.]+))?(?::([-+\deE.]+))?", text.strip())
        try:
            if parts is None:
                raise ValueError
            level, factor = (None if part is None else float(part) for part in parts.groups()[2:])
        except ValueError:
            raise InputError(
                f"--map {text!r}: expected OUTPUT=CMIP, OUTPUT=CMIP@HPA or OUTPUT=CMIP:FACTOR, e.g. "
                "rain=pr:1.1574e-5"
            ) from None
        if parts[2] not in CMIP:
            raise InputError(f"--map {text!r}: no variable {parts[2]!r} (known: {', '.join(CMIP)})")
        if CMIP[parts[2]].on_levels and level is None:
            raise InputError(
                f"--map {text!r}: {parts[2]} needs a level in hPa, as in {parts[2]}@500"
            )
        if not CMIP[parts[2]].on_levels and level is not None:
            raise InputError(f"--map {text!r}: {parts[2]} has no levels; leave out @{level:g}")
        if parts[1] in found:
            raise InputError(f"--map gives {parts[1]!r} twice")
        found[parts[1]] = (parts[2], level, factor)
    return found


def find_targets(
    units: Mapping[str, str],
    given: Mapping[str, tuple[str, float | None, float | None]],
    levels_hPa: Mapping[int, float],
    are_pressure_levels: bool,
) -> tuple[list[Target], list[str]]:
    """The CMIP variables that these outputs (name -> units) hold, and lines on what is left out.

    given: what `parse_map` read; it goes before the table. levels_hPa: nominal pressure of each layer.
    are_pressure_levels: whether the layers are levels of that pressure.
    Raises InputError where a given output is not there, or its units do not fit.
    """
    remarks = list[str]()
    by_name: dict[str, list[_Source]] = {}
    for output, (name, level, factor) in given.items():
        source = _given_source(output, units, Meaning(CMIP[name], pressure_hPa=level), factor)
        by_name.setdefault(name, []).append(source)
    mapped = set(by_name)
    for output, unit in units.items():
        meaning = meaning_of(output)
        if meaning is None:
            if output not in given:
                remarks.append(f"left out: {output}, which no CMIP name is known for (see --map)")
            continue
        found = conversion(unit, meaning.cmip)
        single = meaning.cmip.name in mapped and not meaning.cmip.on_levels
        if single or (output in given and given[output][0] == meaning.cmip.name):
            continue
        if found is None:
            remarks.append(
                f"left out: {output}, whose units {unit!r} do not fit {meaning.cmip.name} in "
                f"{meaning.cmip.units!r} (see --map)"
            )
            continue
        nominal = None if meaning.level is None else levels_hPa.get(meaning.level)
        if are_pressure_levels and nominal is not None:
            meaning = replace(meaning, level=None, pressure_hPa=nominal)
        by_name.setdefault(meaning.cmip.name, []).append(_Source(output, meaning, unit, *found))
    ordered = [name for name in CMIP if name in by_name]
    return [_target(by_name[name], levels_hPa, remarks) for name in ordered], remarks


def _given_source(
    output: str, units: Mapping[str, str], meaning: Meaning, factor: float | None
) -> _Source:
    if output not in units:
        raise InputError(f"--map: the run has no output {output!r} (it has: {', '.join(units)})")
    found = conversion(units[output], meaning.cmip) if factor is None else (factor, 0.0)
    if found is None:
        raise InputError(
            f"--map: units {units[output]!r} of {output} do not fit {meaning.cmip.name} in "
            f"{meaning.cmip.units!r}; give a factor, {output}={meaning.cmip.name}:FACTOR"
        )
    known = meaning_of(output)
    comment = known.comment if known is not None else None
    return _Source(output, replace(meaning, comment=comment), units[output], *found)


def _target(
    sources: Sequence[_Source], levels_hPa: Mapping[int, float], remarks: list[str]
) -> Target:
    """One variable from its sources; of layers and pressure levels the more numerous."""
    layers = [source for source in sources if source.meaning.level is not None]
    others = [source for source in sources if source.meaning.level is None]
    chosen, left = (layers, others) if len(layers) > len(others) else (others, layers)
    cmip = chosen[0].meaning.cmip
    if not cmip.on_levels:
        chosen, left = chosen[:1], chosen[1:]
    first = chosen[0]
    same = {(s.units, s.factor, s.offset) for s in chosen}
    if len(same) > 1:
        raise InputError(f"{cmip.name}: its levels differ in units ({sorted(s[0] for s in same)})")
    if left:
        names = ", ".join(source.output for source in left)
        remarks.append(f"left out: {names}; {cmip.name} is made of {first.output} and its like")
    axis = None
    if cmip.on_levels and chosen is not layers:
        chosen = sorted(chosen, key=lambda s: -(s.meaning.pressure_hPa or 0.0))
        axis = Axis(np.array([s.meaning.pressure_hPa for s in chosen], np.float64))
    elif cmip.on_levels:
        chosen = sorted(chosen, key=lambda s: s.meaning.level or 0)
        numbers = tuple(s.meaning.level or 0 for s in chosen)
        known = all(number in levels_hPa for number in numbers)
        nominal = np.array([levels_hPa[n] for n in numbers]) if known else None
        axis = Axis(nominal, numbers)
    outputs = tuple(source.output for source in chosen)
    comment = first.meaning.comment
    return Target(cmip, outputs, first.units, first.factor, first.offset, axis, comment)
