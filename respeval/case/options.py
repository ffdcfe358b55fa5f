"""Options of the commands, each stated once: the keys of a case with theirs, and how texts are read.

The command line makes its parameters from these tables; importing them loads nothing heavy. Another
key of the case is an entry of `KEYS`, and a field of `Case`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from respeval.errors import InputError

Texts = list[str] | None

#: Takes back what the case file asks for: a spin-up, `until`, a reference.
NONE = "none"

#: What a key bears on: the `length` of a run; whether two runs have the same `samples`; how their
#: diagnostics are defined; or what comes `afterwards` and changes no number of the rollout.
BearsOn = Literal["length", "samples", "definitions", "afterwards"]


#: The panel of options that change no number beyond rounding.
COMPUTE = "How to compute (results stay the same beyond rounding)"


@dataclass(frozen=True)
class Option:
    """An option of a command.

    key: what it sets; parameter: its name in the command, if that is another. type: of the parameter.
    help: `{perturbations}` stands for how these are written. flags: where they are not `--parameter`.
    default: with None, an option that is not given sets nothing. parse: (flag, value) -> the key's
    value, raising InputError. panel: of the help page.
    """

    key: str
    type: Any
    help: str
    parameter: str = ""
    flags: tuple[str, ...] = ()
    default: Any = None
    parse: Callable[[str, Any], Any] | None = None
    panel: str | None = None

    @property
    def name(self) -> str:
        """The parameter's name."""
        return self.parameter or self.key

    @property
    def flag(self) -> str:
        """The option as messages name it."""
        return self.flags[0] if self.flags else f"--{self.name.replace('_', '-')}"

    def read(self, value: Any) -> Any:
        """The key's value, None where it is not given. Raises InputError where it is none."""
        if value is None or value == []:
            return None
        return value if self.parse is None else self.parse(self.flag, value)


@dataclass(frozen=True)
class CaseKey(Option):
    """A key of the case file, and its option.

    before: what runs of a respeval without the key did, where it came later. It is left out of the
    digest with this value, so that such runs have the digest that they had.
    """

    panel: str | None = "Case file"
    bears_on: BearsOn | None = None
    before: Any = None


def read_options(options: Iterable[Option], values: Mapping[str, Any]) -> dict[str, Any]:
    """Keys and their values, of the options that were given. Raises InputError in one line.

    values: parameter -> value, as the command got them.
    """
    read = {option.key: option.read(values.get(option.name)) for option in options}
    return {key: value for key, value in read.items() if value is not None}


def check_at_least_one(flag: str, count: int | None) -> int | None:
    """The count of an option. Raises InputError where it is below one."""
    if count is not None and count < 1:
        raise InputError(f"{flag} {count}: expected a whole number of at least 1")
    return count


def parse_batch_size(flag: str, text: str | None) -> int | Literal["auto"] | None:
    """The value of `--samples-per-batch`. Raises InputError where it is none."""
    if text is None or text == "auto":
        return text  # type: ignore[return-value]
    if not text.isdecimal() or int(text) < 1:
        raise InputError(f"{flag} {text}: expected a whole number of at least 1, or auto")
    return int(text)


Parts = tuple[int, int] | Literal["auto"]


def parse_spatial(flag: str, text: str | None) -> Parts | None:
    """The value of `--spatial` of a run. Raises InputError where it is none."""
    return "auto" if text == "auto" else parse_parts(flag, text, ", or auto")


def parse_parts(flag: str, text: str | None, others: str = "") -> tuple[int, int] | None:
    """Parts of fields in latitude and longitude; others: what a message says may be given too.

    Raises InputError where the text is none."""
    if text is None:
        return None
    height, _, width = text.lower().partition("x")
    if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        expected = f"parts in latitude x parts in longitude, for example 2x1{others}"
        raise InputError(f"{flag} {text}: expected {expected}")
    return int(height), int(width)


def _perturbations(flag: str, texts: Sequence[str]) -> dict[str, Any]:
    from respeval.fields.perturbation import parse_perturbation

    return _unique(flag, (parse_perturbation(text, flag) for text in texts))


def _bands(flag: str, texts: Sequence[str]) -> dict[str, Any]:
    parts = [part for text in texts for part in text.split(",") if part]
    return _unique(flag, (parse_band(text, flag) for text in parts))


def parse_band(text: str, flag: str = "band") -> tuple[str, tuple[float, float]]:
    """`NAME=LOW:HIGH` in degrees of |latitude|. Raises InputError for anything else."""
    name, _, edges = text.partition("=")
    low, _, high = edges.partition(":")
    try:
        return name, (float(low), float(high))
    except ValueError:
        raise InputError(f"{flag} {text!r}: expected NAME=LOW:HIGH, e.g. tropics=0:15") from None


def _roles(flag: str, texts: Sequence[str]) -> dict[str, Any]:
    pairs = _unique(flag, (_pair(flag, text) for text in texts))
    return {
        name: value.split(",") if name == "column_temperature" else value
        for name, value in pairs.items()
    }


def _reader(flag: str, texts: Sequence[str]) -> dict[str, Any]:
    """Options of a checkpoint's reader; a value is YAML."""
    pairs = _unique(flag, (_pair(flag, text) for text in texts))
    return {name: _plain_value(flag, name, value) for name, value in pairs.items()}


def _plain_value(flag: str, name: str, text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise InputError(f"{flag} {name}={text}: the value is no YAML") from None


def _land_boxes(flag: str, texts: Sequence[str]) -> dict[str, Any]:
    return _unique(flag, (_land_box(flag, text) for text in texts))


def _land_box(flag: str, text: str) -> tuple[str, list[float] | dict[str, str]]:
    """`NAME=LAT0,LAT1,LON0,LON1` in degrees, or `NAME=FILE:VARIABLE`. Raises InputError otherwise."""
    name, _, rest = text.partition("=")
    edges = _edges(rest)
    if len(edges) == 4:
        return name, edges
    file, _, variable = rest.rpartition(":")
    if not file or not variable:
        raise InputError(
            f"{flag} {text!r}: expected NAME=LAT_MIN,LAT_MAX,LON_MIN,LON_MAX in degrees, e.g. "
            "sahel=10,20,-15,35, or NAME=FILE:VARIABLE"
        )
    return name, {"file": file, "variable": variable}


def _sst_boxes(flag: str, texts: Sequence[str]) -> dict[str, Any]:
    return _unique(flag, (_sst_box(flag, text) for text in texts))


def _sst_box(flag: str, text: str) -> tuple[str, list[float]]:
    """`NAME=LAT0,LAT1,LON0,LON1` in degrees. Raises InputError otherwise."""
    name, _, rest = text.partition("=")
    edges = _edges(rest)
    if len(edges) != 4:
        raise InputError(
            f"{flag} {text!r}: expected NAME=LAT_MIN,LAT_MAX,LON_MIN,LON_MAX in degrees, e.g. "
            "nino4=-5,5,160,-150"
        )
    return name, edges


def _edges(text: str) -> list[float]:
    """Numbers between commas; none where one of them is no number."""
    try:
        return [float(edge) for edge in text.split(",")]
    except ValueError:
        return []


def _reference(flag: str, texts: Sequence[str]) -> str | dict[str, Any]:
    """One FILE for all perturbations, or LABEL=FILE for each; a file's name may hold `=`."""
    plain = [text for text in texts if "=" not in text or Path(text).exists()]
    if not plain:
        return _unique(flag, (_pair(flag, text) for text in texts))
    if len(texts) > 1:
        raise InputError(
            f"{flag} {plain[0]!r} is of every perturbation, so it must be the only one; or write "
            "LABEL=FILE, the perturbation's label first, for each"
        )
    return plain[0]


def _unique(flag: str, pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for name, value in pairs:
        if name in given:
            raise InputError(f"{flag} gives {name!r} twice")
        given[name] = value
    return given


def _pair(flag: str, text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name or not value:
        raise InputError(f"{flag} {text!r}: expected NAME=VALUE")
    return name, value


_START = (
    "Date of an initial condition to use; repeat for several. Under torchrun write --start-date, because "
    "torchrun takes --start for its own --start-method."
)
_UNTIL = (
    "NAME\\[/PLACE]:FRACTION, for example land_ocean_warming_ratio/tropics:0.05: end the run at the end of "
    "the year in which the 95 % interval is that narrow (half of it, relative to the value) in every "
    "perturbation, or in LABEL/NAME\\[/PLACE]:FRACTION's; several: repeat, all are waited for; 'none' for "
    "the whole length."
)
_PRECISION = (
    "Numbers in which the network computes: float32 (default), tf32 (NVIDIA GPUs) or bfloat16. What it does "
    "to the response of the first day is measured and told."
)

#: Every key of the case, in the order in which `respeval run --help` has them.
KEYS: tuple[CaseKey, ...] = (
    CaseKey(
        "perturbations",
        Texts,
        "{perturbations}; repeat for several. Replaces the case file's; default p4K=uniform:4.",
        "perturb",
        parse=_perturbations,
    ),
    CaseKey("years", int | None, "Length of the run in years.", bears_on="length"),
    CaseKey("days", int | None, "Length of the run in days.", bears_on="length"),
    CaseKey("steps", int | None, "Length of the run in time steps.", bears_on="length"),
    CaseKey(
        "spinup",
        str | None,
        "Left out of the means, for example '1 year'; 'none' for nothing.",
        bears_on="samples",
    ),
    CaseKey(
        "segment",
        str | None,
        "Period of one mean: month, year, all or 'N steps'.",
        bears_on="samples",
    ),
    CaseKey("forcing", str | None, "netCDF file, glob, folder of netCDF files, or zarr store."),
    CaseKey(
        "initial_condition",
        str | None,
        "File of initial conditions, (sample, lat, lon) with time(sample); or another run's folder, of "
        "which the baseline's end is taken.",
    ),
    CaseKey("start", Texts, _START, flags=("--start", "--start-date"), bears_on="samples"),
    CaseKey(
        "num_realizations",
        int | None,
        "Noise realizations per initial condition.",
        bears_on="samples",
    ),
    CaseKey(
        "paired_noise",
        bool | None,
        "Whether all groups of a sample draw the same noise.",
        bears_on="samples",
    ),
    CaseKey("seed", int | None, "Seed of the noise.", bears_on="samples"),
    CaseKey(
        "initial_condition_scope",
        str | None,
        "Where the initial SST is perturbed: ocean, field or none.",
        bears_on="samples",
    ),
    CaseKey(
        "area_weights",
        str | None,
        "grid, or cos_lat to compare with ACE's numbers.",
        bears_on="definitions",
    ),
    CaseKey(
        "ocean_fraction_cutoff",
        float | None,
        "Cells with a larger ocean fraction are ocean.",
        bears_on="definitions",
    ),
    CaseKey("tropical_lat_max", float | None, "The tropics are |latitude| below this."),
    CaseKey(
        "bands",
        Texts,
        "Band NAME=LOW:HIGH of |latitude|; several: repeat, or separate by commas.",
        parse=_bands,
    ),
    CaseKey(
        "roles",
        Texts,
        "ROLE=VARIABLE, for example upper_level=air_temperature_2.",
        "role",
        parse=_roles,
    ),
    CaseKey(
        "repeat",
        str | None,
        "year: a forcing of one year is used again and again; or none.",
        bears_on="samples",
    ),
    CaseKey("save_members", bool | None, "Whether segments keep every member's mean too."),
    CaseKey(
        "allow_out_of_range",
        bool | None,
        "Whether inputs that can't be right, such as temperatures in another unit, are told instead of "
        "refused.",
        bears_on="afterwards",
        before=False,
    ),
    CaseKey("precision", str | None, _PRECISION, before="float32"),
    CaseKey(
        "protocol",
        str | None,
        "aimip: five samples under +2 K and +4 K as AIMIP phase 1 asks, for respeval export.",
    ),
    CaseKey("until", Texts, _UNTIL, bears_on="afterwards"),
    CaseKey(
        "reader",
        Texts,
        "OPTION=VALUE of the checkpoint's reader; repeat for several. format=NAME chooses the reader.",
        parse=_reader,
    ),
    CaseKey(
        "land_boxes",
        Texts,
        "NAME=LAT_MIN,LAT_MAX,LON_MIN,LON_MAX or NAME=FILE:VARIABLE, a mask: a region whose land is "
        "compared with the ocean of its latitudes; repeat for several.",
        "land_box",
        parse=_land_boxes,
        bears_on="definitions",
    ),
    CaseKey(
        "sst_boxes",
        Texts,
        "NAME=LAT_MIN,LAT_MAX,LON_MIN,LON_MAX: a box whose mean SST stands in indices.nc beside those of "
        "Nino 3.4 and the tripole index; repeat for several.",
        "sst_box",
        parse=_sst_boxes,
        bears_on="definitions",
        before={},
    ),
    CaseKey(
        "reference",
        Texts,
        "netCDF of responses, or another run's folder, that the response is held against; LABEL=FILE for "
        "one perturbation, repeat for several; 'none' for no reference.",
        parse=_reference,
        bears_on="afterwards",
    ),
    CaseKey(
        "probe_data",
        str | None,
        "Training data for the gradient probe; kept in the case only.",
    ),
)

KEY: Mapping[str, CaseKey] = {key.key: key for key in KEYS}


def keys_that_bear_on(what: BearsOn) -> tuple[str, ...]:
    """Names of the keys, in the order of `KEYS`."""
    return tuple(key.key for key in KEYS if key.bears_on == what)
