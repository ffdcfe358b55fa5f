"""What AIMIP phase 1 asks for: experiments, members, variables, months, and how files are called.

Facts from github.com/ai2cm/AIMIP (README.md, version of 2 December 2025) and the CMIP6 documents
that it names (doi.org/10.5281/zenodo.12768886).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from respeval.case.protocol import NUM_SAMPLES
from respeval.fields.standard_names import CMIP

#: Experiment -> change of SST in K.
EXPERIMENTS = {"aimip": 0.0, "aimip-p2k": 2.0, "aimip-p4k": 4.0}

NUM_MEMBERS = NUM_SAMPLES

#: Variables; of those in one entry a submission needs one.
VARIABLES = (
    ("ta",),
    ("hus",),
    ("ua",),
    ("va",),
    ("zg",),
    ("ps", "psl"),
    ("ts",),
    ("tas",),
    ("tdas", "huss"),
    ("uas",),
    ("vas",),
    ("pr",),
)

#: Levels to which AIMIP's evaluation interpolates, hPa.
EVALUATED_HPA = (1000, 850, 700, 500, 250, 100, 50)

TABLE = "Amon"
GRID_LABELS = ("gn", "gr")
MISSING = 1.0e20
COARSEST_KM = 500.0

#: Global attributes that CMIP6 requires of every file.
GLOBAL_ATTRIBUTES = (
    "Conventions",
    "activity_id",
    "creation_date",
    "data_specs_version",
    "experiment",
    "experiment_id",
    "forcing_index",
    "frequency",
    "further_info_url",
    "grid",
    "grid_label",
    "initialization_index",
    "institution",
    "institution_id",
    "license",
    "mip_era",
    "nominal_resolution",
    "physics_index",
    "product",
    "realization_index",
    "realm",
    "source",
    "source_id",
    "source_type",
    "sub_experiment",
    "sub_experiment_id",
    "table_id",
    "tracking_id",
    "variable_id",
    "variant_label",
)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*")
VERSION = re.compile(r"v\d{8}")
MEMBER = re.compile(r"r([1-9]\d*)i([1-9]\d*)p([1-9]\d*)f([1-9]\d*)")

YearMonth = tuple[int, int]


@dataclass(frozen=True, order=True)
class Place:
    """Where a file belongs in a submission: what its folders and its name say."""

    institute: str
    model: str
    experiment: str
    member: str
    variable: str
    grid: str
    version: str
    first: YearMonth
    last: YearMonth

    @property
    def folder(self) -> Path:
        """{institute}/{model}/{experiment}/{member}/Amon/{variable}/{grid}/{version}."""
        upper = (self.institute, self.model, self.experiment, self.member, TABLE)
        return Path(*upper, self.variable, self.grid, self.version)

    @property
    def stem(self) -> str:
        """The file's name up to the months."""
        words = (self.variable, TABLE, self.model, self.experiment, self.member, self.grid)
        return "_".join(words)

    @property
    def path(self) -> Path:
        return self.folder / f"{self.stem}_{compact(self.first)}-{compact(self.last)}.nc"

    @classmethod
    def of(cls, path: Path) -> Place:
        """What a path in a submission says. Raises ValueError, with the reason, for any other."""
        if len(path.parts) != 9 or path.parts[4] != TABLE:
            raise ValueError(
                "it does not lie in {institute}/{model}/{experiment}/{member}/Amon/{variable}/{grid}/"
                "{version}"
            )
        institute, model, experiment, member, _, variable, grid, version, name = path.parts
        found = re.fullmatch(r".*_(\d{4})(\d\d)-(\d{4})(\d\d)\.nc", name)
        if found is None:
            raise ValueError("its name does not end in _YYYYMM-YYYYMM.nc")
        y0, m0, y1, m1 = map(int, found.groups())
        words = (institute, model, experiment, member, variable, grid, version)
        place = cls(*words, (y0, m0), (y1, m1))
        if place.path.name != name:
            raise ValueError(f"its folders say {place.path.name}")
        for what, word, allowed in (
            ("experiment", experiment, experiment in EXPERIMENTS),
            ("member", member, MEMBER.fullmatch(member)),
            ("variable", variable, variable in CMIP),
            ("grid", grid, grid in GRID_LABELS),
            ("version", version, VERSION.fullmatch(version)),
        ):
            if not allowed:
                raise ValueError(f"{word} is no {what} of AIMIP")
        return place


def compact(month: YearMonth) -> str:
    """`197810`."""
    return f"{month[0]:04d}{month[1]:02d}"


def next_month(month: YearMonth) -> YearMonth:
    year, number = month
    return (year + 1, 1) if number == 12 else (year, number + 1)


def months_between(first: YearMonth, last: YearMonth) -> Iterator[YearMonth]:
    """All months from the first to the last."""
    month = first
    while month <= last:
        yield month
        month = next_month(month)


#: The simulated period, of which the first three months are spin-up.
PERIOD = ((1978, 10), (2024, 12))
