"""Options of the commands, each stated once: the keys of a case with theirs.

The command line makes its parameters from these tables; importing them loads nothing heavy. Another
key of the case is an entry of `KEYS`, and a field of `Case`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from respeval.case.parsing import (
    parse_bands,
    parse_land_boxes,
    parse_perturbations,
    parse_reader,
    parse_reference,
    parse_roles,
    parse_sst_boxes,
)

Texts = list[str] | None

#: Takes back what the case file asks for: a spin-up, `until`, a reference.
NONE = "none"

#: What a key bears on: the `length` of a run; whether two runs have the same `samples`; how their
#: diagnostics are defined; or what comes `afterwards` and changes no number of the rollout.
BearsOn = Literal["length", "samples", "definitions", "afterwards"]


#: Panels of the help page: what a run is of, what it reads, and how it is measured.
RUN = "What is run (keys of the case file)"
READ = "What is read (keys of the case file)"
MEASURED = "What is measured and kept (keys of the case file)"

#: The panel of options that change no number beyond rounding.
COMPUTE = "How to compute (results stay the same beyond rounding)"


@dataclass(frozen=True)
class Option:
    """An option of a command.

    key: what it sets; parameter: its name in the command, if that is another. type: of the parameter.
    help: `{perturbations}` stands for how these are written. flags: where they are not `--parameter`.
    default: with None, an option that is not given sets nothing. parse: (flag, value) -> the key's
    value, raising InputError. panel: of the help page. metavar: what the help page calls a value.
    """

    key: str
    type: Any
    help: str
    parameter: str = ""
    flags: tuple[str, ...] = ()
    default: Any = None
    parse: Callable[[str, Any], Any] | None = None
    panel: str | None = None
    metavar: str = ""

    @property
    def name(self) -> str:
        """The parameter's name."""
        return self.parameter or self.key

    @property
    def flag(self) -> str:
        """The option as messages name it."""
        return self.flags[0] if self.flags else f"--{self.name.replace('_', '-')}"

    @property
    def value_name(self) -> str | None:
        """What the help page calls a value; None of an option that is there or not."""
        plain = {bool | None: None, int: "N", int | None: "N", float: "X", float | None: "X"}
        return self.metavar or plain.get(self.type, "TEXT")

    def read(self, value: Any) -> Any:
        """The key's value, None where it is not given. Raises InputError where it is none."""
        if value is None or value == []:
            return None
        return value if self.parse is None else self.parse(self.flag, value)


@dataclass(frozen=True)
class CaseKey(Option):
    """A key of the case file, and its option.

    before: what runs of a respeval without the key did, where it came later. It is left out of the
    digest with this value, so that such runs have the digest that they had. in_file: what an editor
    says of the key, where the help is of how the option is written.
    """

    panel: str | None = RUN
    bears_on: BearsOn | None = None
    before: Any = None
    in_file: str = ""


def read_options(options: Iterable[Option], values: Mapping[str, Any]) -> dict[str, Any]:
    """Keys and their values, of the options that were given. Raises InputError in one line.

    values: parameter -> value, as the command got them.
    """
    read = {option.key: option.read(values.get(option.name)) for option in options}
    return {key: value for key, value in read.items() if value is not None}


_START = (
    "Date of an initial condition to use; repeat for several. Under torchrun write --start-date, because "
    "torchrun takes --start for its own --start-method."
)
_UNTIL = (
    "NAME:FRACTION or NAME/PLACE:FRACTION, for example land_ocean_warming_ratio/tropics:0.05: end the run "
    "at the end of the year in which the 95 % interval is that narrow (half of it, relative to the value) "
    "in every perturbation, or in that of LABEL/NAME/PLACE:FRACTION; several: repeat, all are waited for; "
    "'none' for the whole length."
)
_PRECISION = (
    "Numbers in which the network computes: float32 (default), tf32 (NVIDIA GPUs) or bfloat16. What it does "
    "to the response of the first day is measured and told."
)

#: Every key of the case, in the order in which the panels of `respeval run --help` have them.
KEYS: tuple[CaseKey, ...] = (
    CaseKey(
        "perturbations",
        Texts,
        "{perturbations}; repeat for several. Replaces the case file's; default p4K=uniform:4.",
        "perturb",
        parse=parse_perturbations,
        metavar="LABEL=KIND:VALUE",
        in_file="Label: change of SST. Every entry is a climate that is run beside the baseline.",
    ),
    CaseKey("years", int | None, "Length of the run in years.", bears_on="length"),
    CaseKey("days", int | None, "Length of the run in days.", bears_on="length"),
    CaseKey("steps", int | None, "Length of the run in time steps.", bears_on="length"),
    CaseKey(
        "spinup",
        str | None,
        "Left out of the means, for example '1 year'; 'none' for nothing.",
        bears_on="samples",
        metavar="TIME",
    ),
    CaseKey(
        "segment",
        str | None,
        "Period of one mean: month, year, all or 'N steps'.",
        bears_on="samples",
        metavar="PERIOD",
    ),
    CaseKey(
        "forcing",
        str | None,
        "netCDF file, glob, folder of netCDF files, or zarr store.",
        panel=READ,
        metavar="FILES",
    ),
    CaseKey(
        "initial_condition",
        str | None,
        "File of initial conditions, (sample, lat, lon) with time(sample); or another run's folder, of "
        "which the baseline's end is taken.",
        panel=READ,
        metavar="FILE",
    ),
    CaseKey(
        "start",
        Texts,
        _START,
        flags=("--start", "--start-date"),
        bears_on="samples",
        metavar="DATE",
        in_file="Dates of the initial conditions to use; default: all of them.",
    ),
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
        metavar="WHERE",
    ),
    CaseKey(
        "area_weights",
        str | None,
        "grid, or cos_lat to compare with ACE's numbers.",
        bears_on="definitions",
        panel=MEASURED,
        metavar="KIND",
    ),
    CaseKey(
        "ocean_fraction_cutoff",
        float | None,
        "Cells with a larger ocean fraction are ocean.",
        bears_on="definitions",
        panel=MEASURED,
    ),
    CaseKey(
        "tropical_lat_max",
        float | None,
        "The tropics are |latitude| below this.",
        panel=MEASURED,
        metavar="DEGREES",
    ),
    CaseKey(
        "bands",
        Texts,
        "Band NAME=LOW:HIGH of |latitude|; several: repeat, or separate by commas.",
        parse=parse_bands,
        panel=MEASURED,
        metavar="NAME=LOW:HIGH",
        in_file="Name: [low, high], degrees of |latitude|.",
    ),
    CaseKey(
        "roles",
        Texts,
        "ROLE=VARIABLE, for example upper_level=air_temperature_2.",
        "role",
        parse=parse_roles,
        panel=READ,
        metavar="ROLE=VARIABLE",
        in_file="Which variable plays which part, where the checkpoint does not say so itself.",
    ),
    CaseKey(
        "repeat",
        str | None,
        "year: a forcing of one year is used again and again; or none.",
        bears_on="samples",
        panel=READ,
        metavar="PERIOD",
    ),
    CaseKey(
        "save_members",
        bool | None,
        "Whether segments keep every member's mean too.",
        panel=MEASURED,
    ),
    CaseKey(
        "allow_out_of_range",
        bool | None,
        "Whether inputs that can't be right, such as temperatures in another unit, are told instead of "
        "refused.",
        bears_on="afterwards",
        before=False,
        panel=READ,
    ),
    CaseKey(
        "precision",
        str | None,
        _PRECISION,
        before="float32",
        metavar="NAME",
    ),
    CaseKey(
        "protocol",
        str | None,
        "aimip: five samples under +2 K and +4 K as AIMIP phase 1 asks, for respeval export.",
        metavar="NAME",
    ),
    CaseKey(
        "until",
        Texts,
        _UNTIL,
        bears_on="afterwards",
        metavar="NAME:FRACTION",
        in_file="NAME:FRACTION or NAME/PLACE:FRACTION, one or a list: the run ends when the 95 % interval "
        "of all is that narrow.",
    ),
    CaseKey(
        "reader",
        Texts,
        "OPTION=VALUE of the checkpoint's reader; repeat for several. format=NAME chooses the reader.",
        parse=parse_reader,
        panel=READ,
        metavar="OPTION=VALUE",
        in_file="Options of the checkpoint's reader; format: NAME chooses the reader.",
    ),
    CaseKey(
        "land_boxes",
        Texts,
        "NAME=LAT_MIN,LAT_MAX,LON_MIN,LON_MAX or NAME=FILE:VARIABLE, a mask: a region whose land is "
        "compared with the ocean of its latitudes; repeat for several.",
        "land_box",
        parse=parse_land_boxes,
        bears_on="definitions",
        panel=MEASURED,
        metavar="NAME=BOX",
        in_file="Name: [lat_min, lat_max, lon_min, lon_max] in degrees, or a mask: a region whose land is "
        "compared with the ocean of its latitudes.",
    ),
    CaseKey(
        "sst_boxes",
        Texts,
        "NAME=LAT_MIN,LAT_MAX,LON_MIN,LON_MAX: a box whose mean SST stands in indices.nc beside those of "
        "Nino 3.4 and the tripole index; repeat for several.",
        "sst_box",
        parse=parse_sst_boxes,
        bears_on="definitions",
        before={},
        panel=MEASURED,
        metavar="NAME=BOX",
        in_file="Name: [lat_min, lat_max, lon_min, lon_max] in degrees: a box whose mean SST stands in "
        "indices.nc.",
    ),
    CaseKey(
        "reference",
        Texts,
        "netCDF of responses, or another run's folder, that the response is held against; LABEL=FILE for "
        "one perturbation, repeat for several; 'none' for no reference.",
        parse=parse_reference,
        bears_on="afterwards",
        panel=MEASURED,
        metavar="FILE",
        in_file="netCDF of responses, or another run's folder, that the response is held against; or "
        "label: file for each perturbation.",
    ),
    CaseKey(
        "probe_data",
        str | None,
        "Training data for the gradient probe; kept in the case only.",
        panel=MEASURED,
        metavar="FILE",
    ),
)

KEY: Mapping[str, CaseKey] = {key.key: key for key in KEYS}


def keys_that_bear_on(what: BearsOn) -> tuple[str, ...]:
    """Names of the keys, in the order of `KEYS`."""
    return tuple(key.key for key in KEYS if key.bears_on == what)
