"""Units of files held against those that are wanted: the same, to be converted, or another quantity.

Units are read by UDUNITS-2, whose grammar CF takes for its own, through the library cf-units. What
users write besides (`deg C`, `gpm`, `(0-1)`) is put into that grammar here. A conversion is made only
where it is certain, and told; what can't be known is told; what is known to be something else is
refused.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from respeval.errors import InputError
from respeval.fields.notices import Notices
from respeval.fields.standard_names import GRAVITY, meaning_of, spelled

#: What a field is: a quantity by itself, a change of one (where degC is K), or a share of the area,
#: which many masks declare in metres, after the topography that they were made from.
Kind = Literal["value", "change", "fraction"]

#: A metre of water on a square metre, kg.
WATER_DENSITY = 1000.0

_NO_UNITS = {"", "none", "unknown", "undefined", "not available", "n/a", "na", "?"}
_ONE = re.compile(
    r"-|~|1\.0|unitless|dimensionless|non-?dim(ensional)?|fraction(al)?|proportion|ratio|numeric"
    r"|boolean|bool|flag|mask|[(\[]?\s*0(\.0?)?\s*[-,:/]\s*1(\.0?)?\s*[)\]]?"
)
_DEGREES = {
    "degC": re.compile(r"(deg(ree)?s?\.?|[°º])?[ _]?c(elsius|entigrade)?", re.I),
    "degF": re.compile(r"(deg(ree)?s?\.?|[°º])?[ _]?f(ahrenheit)?", re.I),
    "K": re.compile(r"(deg(ree)?s?\.?|[°º])?[ _]?k(elvins?)?", re.I),
}
#: Put into UDUNITS's grammar, in this order.
_WRITTEN = (
    (re.compile(r"[−–]"), "-"),
    (re.compile(r"[${}]|\\mathrm|\\rm"), ""),
    (re.compile(r"(?i)\b(pct|percentage|per cent)\b"), "%"),
    (re.compile(r"(?i)\s+(of )?(liquid )?(water|h2o)( equivalent)?\b"), ""),
    (re.compile(r"(?i)\bdeg(ree)?s?[ _]?c(elsius)?\b"), "degC"),
    (re.compile(r"(?i)(/\s*|\bper )decade\b|\bdecade(s?)\s*(\^|\*\*)?\s*-1\b"), " (10 years)^-1"),
    (re.compile(r"(?i)(/\s*|\bper )century\b|\bcentury\s*(\^|\*\*)?\s*-1\b"), " (100 years)^-1"),
)

_WATER = re.compile(r"(?i)water|precip|rain|snow|evap|runoff|hail|graupel|lwe|^pr(w|ate|c|l|sn)?$")
_GEOPOTENTIAL = re.compile(r"(?i)geopotential|orog|phis|^zs?$")
_FRACTION = re.compile(
    r"(?i)(?<!mass_)(?<!mole_)(?<!volume_)fraction|mask|ice.*concentration|area_type"
    r"|^(lsm|siconc?|sftlf|sftof|ci)$"
)


class UnknownUnitsError(ValueError):
    """Units that UDUNITS-2 does not know; its text is what was given."""


@dataclass(frozen=True)
class Conversion:
    """values · factor + offset; because: what it rests on, where that is not the units alone.

    >>> conversion("degC", "K")(np.array([0.0, 25.0])).tolist()
    [273.15, 298.15]
    """

    factor: float = 1.0
    offset: float = 0.0
    because: str = ""

    @property
    def changes(self) -> bool:
        """Whether it does anything beyond rounding."""
        return abs(self.factor - 1.0) > 1e-9 or abs(self.offset) > 1e-9

    def __call__(self, values: NDArray[Any]) -> NDArray[Any]:
        """The converted numbers; the same array where nothing changes. Whole numbers become float64."""
        return _scaled(values, self) if self.changes else values


SAME = Conversion()

Scaled = TypeVar("Scaled", NDArray[Any], xr.DataArray)


def _scaled(values: Scaled, by: Conversion) -> Scaled:
    if values.dtype.kind != "f":
        values = values.astype(np.float64)
    scaled: Scaled = values * by.factor if by.factor != 1.0 else values
    return scaled + by.offset if by.offset else scaled


def conversion(
    given: str, wanted: str, kind: Kind = "value", called: tuple[str, ...] = ()
) -> Conversion | None:
    """From the units that are given to those that are wanted; None where they measure other things.

    called: names of the field, standard or not. They make certain that a depth is one of water, and
    that a height is one of geopotential. Raises UnknownUnitsError.

    >>> conversion("mm/day", "kg m-2 s-1").factor == 1 / 86_400
    True
    >>> conversion("degC", "K", "change").offset
    0.0
    >>> conversion("hPa", "K") is None
    True
    """
    own, other = _parsed(given), _parsed(wanted)
    if _measure_alike(own, other):
        return _between(own, other, kind)
    for constant, known, because in _bridges(own, other, called):
        bridged = own * _parsed(constant) if known else own / _parsed(constant)
        if _measure_alike(bridged, other):
            found = _between(bridged, other, "change")
            return Conversion(found.factor, 0.0, because)
    return None


def _measure_alike(own: Any, other: Any) -> bool:
    """Whether two units are of one quantity; UDUNITS alone takes seconds and hertz for such too."""
    metre = _parsed("m")
    alike: bool = own.is_convertible(other) and (own * metre).is_convertible(other * metre)
    return alike


def _between(own: Any, other: Any, kind: Kind) -> Conversion:
    # Units times a metre have no zero of their own: what is left is the factor.
    metre = _parsed("m")
    factor = float((own * metre).convert(1.0, other * metre))
    offset = 0.0 if kind == "change" else float(own.convert(0.0, other))
    return Conversion(factor, offset)


def _bridges(own: Any, other: Any, called: tuple[str, ...]) -> list[tuple[str, bool, str]]:
    """Constants between quantities that stand for each other: (its units, times or through, words)."""
    names = " ".join(called)
    water = any(_WATER.search(name) for name in called) or any(
        meaning is not None and meaning.cmip.name in ("pr", "prw")
        for meaning in map(meaning_of, called)
    )
    deep_snow = re.search(r"(?i)snow.*(depth|thickness)|thickness.*snow", names) is not None
    height = any(_GEOPOTENTIAL.search(name) for name in called) or any(
        meaning is not None and meaning.cmip.name == "zg" for meaning in map(meaning_of, called)
    )
    found = []
    density, because = f"{WATER_DENSITY:g} kg m-3", "1 mm of water is 1 kg m-2"
    # A flux of mass through an area that is given as a speed can only be water's.
    if (water or _measure_alike(other, _parsed("kg m-2 s-1"))) and not deep_snow:
        found.append((density, True, because))
    if water and not deep_snow:
        found.append((density, False, because))
    gravity, because = f"{GRAVITY!r} m s-2", f"geopotential over {GRAVITY} m s-2 is its height"
    found.append((gravity, False, because))  # m2 s-2 where metres are wanted
    if height:
        found.append((gravity, True, because))
    return found


def _library() -> Any:
    try:
        import cf_units
    except OSError as error:  # it writes where its tables lie into a temporary file, and removes it
        raise InputError(
            f"units can't be read: cf-units could not write a temporary file ({error.strerror}); let TMPDIR "
            "name a folder where it can"
        ) from None
    return cf_units


@functools.lru_cache(maxsize=1024)
def _parsed(text: str) -> Any:
    cf_units = _library()
    if not text.isprintable():  # UDUNITS reads up to a NUL
        raise UnknownUnitsError(text)
    with cf_units.suppress_errors():
        try:
            unit = cf_units.Unit(in_grammar(text))
            unit * cf_units.Unit("m")  # logarithms, dB say, can't be: nothing is converted to them
        except ValueError:
            raise UnknownUnitsError(text) from None
    if unit.is_unknown() or unit.is_no_unit() or unit.is_time_reference():
        raise UnknownUnitsError(text)
    return unit


def in_grammar(text: str) -> str:
    """Units as UDUNITS reads them, however they were spelled; unknown ones as they are.

    >>> [in_grammar(text) for text in ("degrees C", "°C", "(0 - 1)", "gpm", "kg m**-2 s**-1")]
    ['degC', 'degC', '1', 'm', 'kg m-2 s-1']
    """
    text = " ".join(text.split())
    if _ONE.fullmatch(text.lower()):
        return "1"
    for units, spelling in _DEGREES.items():
        if spelling.fullmatch(text):
            return units
    if text and spelled(text) != text:
        return spelled(text)
    for spelling, units in _WRITTEN:
        text = spelling.sub(units, text)
    return spelled(text.strip())


def alike(own: Mapping[Any, Any], other: Mapping[Any, Any]) -> bool:
    """Whether the attributes of two variables say the same units, in whatever spelling."""
    texts = (str(each.get("units", "1")) for each in (own, other))
    first, second = map(in_grammar, texts)
    return first == second


def says_units(text: str) -> bool:
    """Whether a text is meant to be units at all."""
    return text.strip().lower() not in _NO_UNITS


def kind_of(name: str, wanted: str) -> Kind:
    """Whether a variable that is wanted in `wanted` is a share of the area, by its name."""
    return "fraction" if in_grammar(wanted) == "1" and _FRACTION.search(name) else "value"


@dataclass(frozen=True)
class Wanted:
    """Who wants a field, for messages, and in what.

    units: empty where nobody knows. by: what is said of the reader, `the emulator wants`.
    """

    units: str
    kind: Kind = "value"
    by: str = "the emulator wants"


CHANGE_OF_SST = Wanted("K", "change", "a change of SST must be in")
SHARE_OF_CELL = Wanted("1", "fraction", "a mask must be in")


def fit(
    location: str,
    name: str,
    attributes: Mapping[Any, Any],
    wanted: Wanted,
    notices: Notices,
) -> Conversion:
    """What makes a file's variable what is wanted, told once where it is more than nothing.

    attributes: of the variable. Raises InputError where its units are known and are those of another
    quantity.
    """
    given = str(attributes.get("units", ""))
    for text, refused in attributes.get(DIFFERING, ()):
        if refused:
            raise InputError(text)
        notices.tell(text)
    _check_temperature(location, name, attributes, wanted)
    if not says_units(wanted.units):
        return SAME
    if not says_units(given):
        if wanted.kind != "fraction":
            notices.tell(f"{location}: {name} has no units; it is taken to be in {wanted.units}")
        return SAME
    called = (name, *(str(attributes.get(key, "")) for key in ("standard_name", "long_name")))
    try:
        found = conversion(given, wanted.units, wanted.kind, called)
    except UnknownUnitsError as unknown:
        if in_grammar(given) != in_grammar(wanted.units):
            notices.tell(
                f"{location}: {name} is in {given!r} and {wanted.by} {wanted.units!r}; "
                f"{str(unknown)!r} is not known, so the numbers are taken as they are"
            )
        return SAME
    if found is None:
        return _despite(location, name, given, wanted, notices)
    if found.changes:
        because = f" ({found.because})" if found.because else ""
        notices.tell(f"{location}: {name} was converted from {given} to {wanted.units}{because}")
    return found if found.changes else SAME


def _despite(location: str, name: str, given: str, wanted: Wanted, notices: Notices) -> Conversion:
    """Units of another quantity: told where a mask's, or a pattern's that is only to be scaled."""
    if wanted == CHANGE_OF_SST and in_grammar(given) == "1":
        notices.tell(f"{location}: {name} has no dimension; it is taken to be in {wanted.units}")
        return SAME
    if wanted.kind == "fraction":
        notices.tell(f"{location}: {name} declares {given}; its numbers are taken as fractions")
        return SAME
    hint = "convert it, or mend its units"
    with contextlib.suppress(UnknownUnitsError):  # not all units can be put in brackets
        if conversion(f"({in_grammar(given)}) s-1", wanted.units) is not None:
            hint = "it is a sum over time: divide it by the seconds that it is a sum over"
    raise InputError(f"{location}: {name} is in {given}, {wanted.by} {wanted.units}; {hint}")


def _check_temperature(
    location: str, name: str, attributes: Mapping[Any, Any], wanted: Wanted
) -> None:
    """Raise InputError where CF's attribute says a difference and a temperature is wanted, or so."""
    told = str(attributes.get("units_metadata", "")).strip().lower()
    wrong = {
        "value": ("temperature: difference", "differences of temperatures", "temperatures"),
        "change": ("temperature: on_scale", "temperatures", "a change of them"),
    }
    if wanted.kind in wrong and told == wrong[wanted.kind][0]:
        _, has, needed = wrong[wanted.kind]
        raise InputError(
            f"{location}: {name} holds {has} by its units_metadata ({told!r}), expected {needed}"
        )


#: Attribute of a field from several files: what is to be told of those whose units are not the
#: first one's, each with whether it is refused; it is told when the field is used.
DIFFERING = "respeval_differing_units"


def in_units_of(fields: Sequence[tuple[str, xr.DataArray]]) -> list[xr.DataArray]:
    """A variable of several files, (file, field), in the units of the first file that says any.

    Lazy fields stay lazy. What was converted or can't be is kept with the first field, see `fit`.
    """
    given = [str(field.attrs.get("units", "")) for _, field in fields]
    if len(set(given)) == 1:
        return [field for _, field in fields]
    first = next((i for i, units in enumerate(given) if says_units(units)), None)
    if first is None:
        return [field for _, field in fields]
    source, name = fields[first][0], str(fields[first][1].name)
    found, told = [], list[tuple[str, bool]]()
    for (where, field), units in zip(fields, given, strict=True):
        by, remark = _into_units_of(where, name, units, (given[first], source))
        told += [remark] if remark is not None else []
        found.append(scaled(field, by))
    attributes = {**found[0].attrs, "units": given[first], DIFFERING: tuple(dict.fromkeys(told))}
    return [found[0].assign_attrs(attributes), *found[1:]]


def _into_units_of(
    where: str, name: str, given: str, first: tuple[str, str]
) -> tuple[Conversion, tuple[str, bool] | None]:
    """How a file's units become those of another one, (units, file); what to tell, whether refused."""
    wanted, source = first
    if not says_units(given):
        return SAME, (
            f"{where}: {name} has no units; it is taken to be in {wanted}, as in {source}",
            False,
        )
    try:
        found = conversion(given, wanted, kind_of(name, wanted), (name,))
    except UnknownUnitsError:
        same = in_grammar(given) == in_grammar(wanted)
        known = (
            f"{where}: {name} is in {given}, in {source} it is in {wanted}; write it in one of them"
        )
        return SAME, None if same else (known, True)
    if found is None:
        return SAME, (
            f"{where}: {name} is in {given}, in {source} it is in {wanted}; convert it",
            True,
        )
    if not found.changes:
        return SAME, None
    return found, (f"{where}: {name} was converted from {given} to {wanted}, as in {source}", False)


def scaled(field: xr.DataArray, by: Conversion) -> xr.DataArray:
    """A field, which may be lazy, in other units; its attributes are kept."""
    if not by.changes:
        return field
    return _scaled(field, by).assign_attrs(field.attrs)
