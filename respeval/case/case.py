"""The case: what a run reads, perturbs and diagnoses, as validated, frozen models."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    Field,
    TypeAdapter,
    ValidationError,
    create_model,
    field_validator,
    model_validator,
)

from respeval.case.options import KEYS, NONE, keys_that_bear_on
from respeval.case.protocol import Protocol, check_protocol, with_protocol
from respeval.checkpoints.manifest import RoleSettings
from respeval.diagnostics import BUILT_IN_BOXES, NAMED_IN_ROLES, parse_targets
from respeval.emulator.contract import Precision
from respeval.errors import InputError
from respeval.fields.calendar import Duration
from respeval.fields.grid import DEFAULT_BANDS, SURFACES, TROPICAL_LAT_MAX, AreaWeights
from respeval.fields.locations import is_remote
from respeval.fields.perturbation import (
    BASELINE,
    Latitude,
    Longitude,
    Perturbation,
    Scope,
    UniformPerturbation,
)
from respeval.fields.variables import FORCING_ROLES
from respeval.files.settings import STRICT
from respeval.rollout.segments import parse_segment

#: What is held against the reference: one for all perturbations, or perturbation -> its own.
Sources = str | Mapping[str, str]


class _Frozen(BaseModel):
    model_config = STRICT


class BoxMask(_Frozen):
    """Cells in which a field of a file is above a half."""

    file: str
    variable: str


#: [lat_min, lat_max, lon_min, lon_max] in degrees, eastward from lon_min to lon_max, or a mask.
LandBox = tuple[Latitude, Latitude, Longitude, Longitude] | BoxMask

_LAND_BOX: TypeAdapter[LandBox] = TypeAdapter(LandBox)

#: The same of a box of the sea.
SstBox = tuple[Latitude, Latitude, Longitude, Longitude]

_SST_BOX: TypeAdapter[SstBox] = TypeAdapter(SstBox)


def _role_fields() -> dict[str, Any]:
    """Roles that are outputs, names in the forcing files, and outputs that the diagnostics know."""
    outputs = RoleSettings.model_fields
    found: dict[str, Any] = {name: (str | None, None) for name in outputs}
    found["column_temperature"] = (list[str] | None, None)
    others = (*FORCING_ROLES, *NAMED_IN_ROLES)
    return found | {name: (str | None, None) for name in others}


class RoleNames(create_model("RoleNames", __base__=_Frozen, **_role_fields())):  # type: ignore[misc]
    """Which variable plays which part, where the checkpoint does not say so itself.

    near_surface_temperature, column_temperature (top to surface), surface_level and upper_level are
    outputs; surface_temperature, ocean_fraction and land_fraction are names in the forcing files.
    The others are outputs whose usual names the diagnostics know.
    """


def _check_label(label: str, kind: str) -> None:
    if label == BASELINE or not re.fullmatch(r"[\w.+-]{1,100}", label):
        raise ValueError(
            f"{label!r:.120} can't name a {kind}: expected letters, digits, '.', '_', '+' or '-', at most "
            f"100, and not {BASELINE!r}"
        )


def _land_box(name: str, box: Any) -> LandBox:
    try:
        return _LAND_BOX.validate_python(tuple(box) if isinstance(box, list) else box)
    except ValidationError:
        raise ValueError(
            f"land_boxes.{name}: expected [lat_min, lat_max, lon_min, lon_max] or {{file: …, variable: …}}, "
            f"degrees north and east, got {box!r:.200}"
        ) from None


def _sst_box(name: str, box: Any) -> SstBox:
    try:
        return _SST_BOX.validate_python(tuple(box) if isinstance(box, list) else box)
    except ValidationError:
        raise ValueError(
            f"sst_boxes.{name}: expected [lat_min, lat_max, lon_min, lon_max], degrees north and east, got "
            f"{box!r:.200}"
        ) from None


def _check_edges(what: str, box: tuple[float, float, float, float]) -> None:
    if box[0] >= box[1] or box[2] == box[3]:
        raise ValueError(
            f"{what}: expected [lat_min, lat_max, lon_min, lon_max] with lat_min < lat_max and other "
            f"longitudes, got {list(box)}"
        )


class Case(_Frozen):
    """A case file with the command line's options applied; paths are absolute. Defaults:

    - four kelvin everywhere over ocean, because +4 K is the experiment of CFMIP and AIMIP;
    - monthly segments, so that a year gives twelve of them, and files stay small;
    - bands and tropics as Joshi et al. (2008) and later studies of the land/ocean contrast use them.
    """

    forcing: str
    initial_condition: str
    start: list[str] = []
    years: Annotated[int, Field(ge=1, le=10_000)] | None = None
    days: Annotated[int, Field(ge=1, le=4_000_000)] | None = None
    steps: Annotated[int, Field(ge=1, le=100_000_000)] | None = None
    spinup: str | None = None
    segment: str = "month"
    num_realizations: Annotated[int, Field(ge=1, le=100_000)] = 1
    paired_noise: bool = True
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    perturbations: Annotated[dict[str, Perturbation], Field(min_length=1)] = {
        "p4K": UniformPerturbation(amplitude_K=4.0)
    }
    initial_condition_scope: Scope = "ocean"
    area_weights: AreaWeights = "grid"
    ocean_fraction_cutoff: Annotated[float, Field(ge=0, lt=1)] = 0.5
    tropical_lat_max: Annotated[float, Field(gt=0, le=90)] = TROPICAL_LAT_MAX
    bands: Annotated[dict[str, tuple[float, float]], Field(min_length=1)] = dict(DEFAULT_BANDS)
    land_boxes: dict[str, LandBox] | None = None
    sst_boxes: dict[str, SstBox] = {}
    roles: RoleNames = RoleNames()
    repeat: Literal["none", "year"] = "none"
    save_members: bool = False
    allow_out_of_range: bool = False
    precision: Precision = "float32"
    reader: dict[str, Any] = {}
    probe_data: str | None = None
    reference: str | dict[str, str] | None = None
    protocol: Protocol | None = None
    until: list[str] = []

    @model_validator(mode="before")
    @classmethod
    def _apply_protocol(cls, content: Any) -> Any:
        return with_protocol(content) if isinstance(content, Mapping) else content

    @field_validator("perturbations")
    @classmethod
    def _check_labels(cls, value: dict[str, Any]) -> dict[str, Any]:
        for label in value:
            _check_label(label, "perturbation")
        return value

    @field_validator("bands")
    @classmethod
    def _check_bands(cls, value: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        for name, (low, high) in value.items():
            _check_label(name, "band")
            if not 0 <= low < high <= 90:
                raise ValueError(
                    f"band {name}: expected 0 <= low < high <= 90, got [{low:g}, {high:g}]"
                )
        return value

    @field_validator("land_boxes", mode="before")
    @classmethod
    def _parse_land_boxes(cls, value: Any) -> Any:
        return {name: _land_box(str(name), box) for name, box in mapping_of(value).items()} or value

    @field_validator("land_boxes")
    @classmethod
    def _check_land_boxes(cls, value: dict[str, LandBox] | None) -> dict[str, LandBox] | None:
        for name, box in (value or {}).items():
            _check_label(name, "land box")
            if name in SURFACES:
                raise ValueError(f"{name!r} can't name a land box: it is the name of a surface")
            if isinstance(box, tuple):
                _check_edges(f"land box {name}", box)
        return value or None

    @field_validator("sst_boxes", mode="before")
    @classmethod
    def _parse_sst_boxes(cls, value: Any) -> Any:
        if value is None:
            return {}
        return {name: _sst_box(str(name), box) for name, box in mapping_of(value).items()} or value

    @field_validator("sst_boxes")
    @classmethod
    def _check_sst_boxes(cls, value: dict[str, SstBox]) -> dict[str, SstBox]:
        for name, box in value.items():
            _check_label(name, "box of SST")
            if name in BUILT_IN_BOXES:
                raise ValueError(
                    f"{name!r} can't name a box of SST: every run has one of this name"
                )
            _check_edges(f"box {name} of SST", box)
        return value

    @field_validator("segment")
    @classmethod
    def _check_segment(cls, value: str) -> str:
        parse_segment(value)
        return value

    @field_validator("reference", mode="before")
    @classmethod
    def _check_reference(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {
                label: location for label, location in value.items() if location != NONE
            } or None
        return None if value == NONE else value

    @field_validator("until", mode="before")
    @classmethod
    def _one_or_more(cls, value: Any) -> Any:
        given = [value] if isinstance(value, str) else value
        return [] if given in (None, ["none"]) else given

    @field_validator("until")
    @classmethod
    def _check_until(cls, value: list[str]) -> list[str]:
        parse_targets(value)
        return value

    @field_validator("spinup")
    @classmethod
    def _check_spinup(cls, value: str | None) -> str | None:
        return None if value in (None, "none") else str(Duration.parse(value))

    @model_validator(mode="after")
    def _check_length(self) -> Case:
        lengths = keys_that_bear_on("length")
        given = [name for name in lengths if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                "the run's length is not given; set one of years, days or steps"
                if not given
                else f"the run's length is given twice ({' and '.join(given)}); keep one"
            )
        return self

    @model_validator(mode="after")
    def _check_protocol(self) -> Case:
        if self.protocol is not None:
            check_protocol(self.protocol, self.model_dump())
        return self

    @property
    def duration(self) -> Duration:
        """How long the run is."""
        for name in keys_that_bear_on("length"):
            count = getattr(self, name)
            if count is not None:
                return Duration(count, name.removesuffix("s"))
        raise AssertionError("a validated case has a length")

    @property
    def groups(self) -> tuple[str, ...]:
        """Labels of the groups; group 0 is the baseline."""
        return (BASELINE, *self.perturbations)

    @property
    def amplitudes_K(self) -> dict[str, float]:
        """The uniform perturbations and their changes of SST."""
        found = {label: change.uniform_K for label, change in self.perturbations.items()}
        return {label: amplitude for label, amplitude in found.items() if amplitude is not None}

    def digest(self) -> str:
        """SHA-256 of the case's canonical JSON; without keys that change no number of a rollout, and
        those that say what runs did before there was the key."""
        later = (key for key in KEYS if key.before is not None)
        ignored = {key.key for key in later if getattr(self, key.key) == key.before}
        ignored |= set(keys_that_bear_on("afterwards"))
        text = json.dumps(self.model_dump(mode="json", exclude=ignored), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def to_yaml(self) -> str:
        """The case file that gives this case again."""
        plain = self.model_dump(mode="json", exclude_none=True)
        return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)


def mapping_of(value: object) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def of_perturbations(sources: Sources, labels: Sequence[str]) -> dict[str, str]:
    """Perturbation -> where its reference is. Raises InputError where one is not the run's."""
    if isinstance(sources, str):
        return dict.fromkeys(labels, sources)
    for label in sources:
        if label not in labels:
            raise InputError(
                f"reference {label}={sources[label]}: the run has no perturbation {label!r} (it has: "
                f"{', '.join(labels)})"
            )
    return dict(sources)


def check_sources(sources: Sources | None, labels: Sequence[str]) -> None:
    """Raise InputError where a reference is of no perturbation of the run, or is not there."""
    for location in of_perturbations(sources or {}, labels).values():
        if not is_remote(location) and not Path(location).exists():
            raise InputError(
                f"reference {location}: no such file or folder; expected netCDF of responses, or the "
                "folder of a run"
            )
