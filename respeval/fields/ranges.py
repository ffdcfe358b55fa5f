"""What a variable's values usually are, and what is told or refused where they are far from it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from respeval.errors import InputError
from respeval.fields.grid import BoolArray, FloatArray
from respeval.fields.notices import Notices
from respeval.fields.standard_names import conversion, meaning_of, spelled

#: A value this many scales from its mean is outside what the normalization was made for.
USUAL_SCALES = 6.0
#: Most cells can't be this many scales away, and no cell that many, where nothing else is known.
ABSURD_SCALES, IMPOSSIBLE_SCALES = 100.0, 1e4

#: Whatever a variable is: fill values that a file does not declare are beyond it.
_IMPOSSIBLE = 1e19

#: Any temperature of air or of a surface, K.
_TEMPERATURES = (100.0, 400.0)

#: Share of the globe's cells that must be usual for another unit to be a likely reason.
_LIKELY = 0.95

#: CMIP's name -> low and high of an hour, where they are beyond those of a month, in CMIP's units.
_OF_AN_HOUR: Mapping[str, tuple[float, float]] = {
    **dict.fromkeys(("rsdt", "rsut", "rsds", "rsus"), (-100.0, 1_450.0)),
    **dict.fromkeys(("hfls", "hfss"), (-1_000.0, 2_000.0)),
    **dict.fromkeys(("uas", "vas"), (-110.0, 110.0)),
    "psl": (8.5e4, 1.1e5),
    "pr": (-1e-5, 0.1),
}

#: In the name of a variable: it is no temperature, though its units are K.
_OF_CHANGES = ("anomal", "change", "delta", "depression", "diff", "increment", "tendency", "bias")

#: In a warning, before what tells when and how far.
OUT_OF_RANGE = "is out of range"

#: Units -> what a number may be in by mistake: in words, factor and offset to these units.
_MISTAKES: Mapping[str, tuple[tuple[str, float, float], ...]] = {
    "K": (("degrees Celsius", 1.0, 273.15), ("degrees Fahrenheit", 5 / 9, 459.67 * 5 / 9)),
    "Pa": (("hPa", 100.0, 0.0),),
    "1": (("percent", 0.01, 0.0), ("g/kg", 1e-3, 0.0)),
    "m": (("m2 s-2", 1 / 9.80665, 0.0), ("km", 1e3, 0.0)),
    "m2 s-2": (("m", 9.80665, 0.0),),
    "kg m-2 s-1": (("mm/day", 1 / 86_400, 0.0), ("mm/h", 1 / 3_600, 0.0)),
    "W m-2": (("J m-2 of an hour", 1 / 3_600, 0.0), ("J m-2 of 6 h", 1 / 21_600, 0.0)),
}


@dataclass(frozen=True)
class Usual:
    """What a variable's values usually are; every method takes [lat, lon] or a field of such.

    mean, scale: of its normalization; the mean may be a field [lat, lon], no scale where there is
    none. low, high: what nearly all values on Earth lie within; infinite where that is not known.
    """

    units: str
    mean: FloatArray | float = 0.0
    scale: float | None = None
    low: float = -math.inf
    high: float = math.inf

    def __str__(self) -> str:
        if math.isfinite(self.low):
            return f"{self.low:g} to {self.high:g} {self.units}"
        return f"about {float(np.mean(self.mean)):.4g} ± {self.scale or 0.0:.3g} {self.units}"

    def scales(self, values: FloatArray) -> FloatArray:
        """Distance from the mean in scales; zero without a normalization."""
        if self.scale is None:
            return np.zeros_like(values)
        return np.abs(values - self.mean) / self.scale

    def _is_outside(self, values: FloatArray, room: float = 0.0) -> BoolArray:
        """Beyond the limits by more than `room` times what lies between them."""
        if not math.isfinite(self.low):
            return np.zeros(values.shape, np.bool_)
        wide = room * (self.high - self.low)
        low, high = self.low - wide, self.high + wide
        if room and spelled(self.units) == "K":
            low, high = max(low, _TEMPERATURES[0]), max(self.high, _TEMPERATURES[1])
        return (values < low) | (values > high)

    def impossible(self, values: FloatArray) -> BoolArray:
        """Which values no cell can have; like the others False where one is NaN."""
        if math.isfinite(self.low):
            return self._is_outside(values, room=1.0)
        return (self.scales(values) > IMPOSSIBLE_SCALES) | (np.abs(values) > _IMPOSSIBLE)

    def far(self, values: FloatArray) -> BoolArray:
        """Which values an emulator has not seen in training."""
        unseen = self._is_outside if self.scale is None else self._is_unseen
        return unseen(values) | self.impossible(values)

    def _is_unseen(self, values: FloatArray) -> BoolArray:
        return self.scales(values) > USUAL_SCALES

    def absurd(self, values: FloatArray) -> BoolArray:
        """Which values are so far away that most cells can't have them."""
        beyond = self._is_outside(values) | (self.scales(values) > ABSURD_SCALES)
        return (self.far(values) & beyond) | self.impossible(values)

    def mistake(self, values: FloatArray) -> str | None:
        """What the values look like, where another unit would make them usual."""
        for words, factor, offset in _MISTAKES.get(spelled(self.units), ()):
            converted = values * factor + offset
            wrong = self.far(converted) | self._is_outside(converted)
            if wrong.sum() < (1.0 - _LIKELY) * np.isfinite(values).sum():
                return words
        return None


def usual(
    name: str, units: str, normalization: tuple[FloatArray | float, float] | None = None
) -> Usual:
    """What is usual of a variable by its name, its units, and its normalization (mean, scale).

    Limits that the normalization's own mean lies outside of are not those of this variable: it is an
    anomaly, for example.
    """
    mean, scale = normalization or (0.0, None)
    low, high = _limits(name, units)
    if scale is not None and not low <= float(np.mean(mean)) <= high:
        low, high = -math.inf, math.inf
    return Usual(units, mean, scale, low, high)


def _limits(name: str, units: str) -> tuple[float, float]:
    meaning = meaning_of(name)
    found = conversion(units, meaning.cmip) if meaning else None
    if meaning is not None and found is not None:
        factor, offset = found
        low, high = _OF_AN_HOUR.get(meaning.cmip.name, (meaning.cmip.low, meaning.cmip.high))
        return (low - offset) / factor, (high - offset) / factor
    is_change = any(part in name.lower() for part in _OF_CHANGES)
    return _TEMPERATURES if spelled(units) == "K" and not is_change else (-math.inf, math.inf)


@dataclass
class RangeCheck:
    """Holds what is read against what is usual: tells each variable once, and refuses what is absurd.

    usual: by variable. allow: whether what is absurd is told alone.
    """

    usual: Mapping[str, Usual]
    notices: Notices
    allow: bool = False
    _told: set[tuple[str, str]] = field(default_factory=set)

    def check(
        self,
        location: str,
        name: str,
        fields: NDArray[Any],
        place: Callable[[int], str],
        cells: BoolArray | None = None,
        source: Callable[[int], str] | None = None,
    ) -> None:
        """Look at a variable's fields [row, lat, lon].

        place: a row -> when it is, as in "at DATE". cells: which cells [row, lat, lon] are read; all
        where not given. source: a row -> its file, where the location has several. Raises InputError
        where most cells of a row are absurd, or one can't be.
        """
        known, is_told = self.usual.get(name), (location, name) in self._told
        if known is None or (is_told and self.allow) or not fields.size:
            return
        if cells is None and fields.strides[0] == 0:
            fields = fields[:1]  # the same at all times
        seen = fields if cells is None else np.where(cells, fields, np.nan)
        # NaN, in cells that nobody reads, is passed over.
        ends = np.stack([np.fmin.reduce(seen, axis=0), np.fmax.reduce(seen, axis=0)])
        ends = ends.astype(np.float64)
        if not (known.absurd(ends) if is_told else known.far(ends)).any():
            return
        for row, values in enumerate(seen):
            where = location if source is None else source(row)
            if self._check_row(where, name, np.asarray(values, np.float64), place(row), is_told):
                is_told = True
                self._told.add((location, name))

    def _check_row(
        self, where: str, name: str, values: FloatArray, place: str, is_told: bool
    ) -> bool:
        """Returns whether the row has anything to tell; tells it, unless something is told already."""
        known = self.usual[name]
        absurd, impossible = known.absurd(values), known.impossible(values)
        most = absurd.sum() > 0.5 * np.isfinite(values).sum()
        if (most or impossible.any()) and not self.allow:
            raise _refusal(known, where, name, values, place, absurd if most else impossible)
        far = known.far(values)
        if far.any() and not is_told:
            about = f"{where}: {name} {OUT_OF_RANGE}"
            self.notices.tell(f"{about} {place}: {how_far(known, values, far)}", about)
        return bool(far.any())


def _share(cells: BoolArray, values: FloatArray) -> str:
    return f"{100 * float(cells.sum() / max(np.isfinite(values).sum(), 1)):.3g} %"


def how_far(known: Usual, values: FloatArray, far: BoolArray) -> str:
    """In words how far values lie from what is usual, those that are `far`."""
    share = _share(far, values)
    if known.scale is None:
        ends = f"{np.nanmin(values):.4g} to {np.nanmax(values):.4g} {known.units}"
        return f"{ends}, expected {known} ({share} of cells outside)"
    most = np.nanmax(known.scales(values))
    return f"up to {most:.1f} scales from its mean ({share} of cells beyond {USUAL_SCALES:g})"


def _refusal(
    known: Usual, location: str, name: str, values: FloatArray, place: str, wrong: BoolArray
) -> InputError:
    worst = values[wrong]
    # What is wrong in a few cells alone is no other unit, though it would make them usual.
    is_outlier = wrong.sum() < (1.0 - _LIKELY) * np.isfinite(values).sum()
    looks = None if is_outlier else known.mistake(values)
    return InputError(
        f"{location}: {name} can't be right {place}: {worst.min():.4g} to {worst.max():.4g} "
        f"{known.units} in {_share(wrong, values)} of cells, expected {known}"
        + (f"; it looks like {looks}" if looks else "")
        + "; mend the file, or let it pass with allow_out_of_range: true in the case file, or "
        "--allow-out-of-range"
    )
