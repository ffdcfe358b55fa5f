"""What a submission holds, and what it lacks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from respeval.aimip.content import examine
from respeval.aimip.findings import Findings
from respeval.aimip.request import (
    EXPERIMENTS,
    NUM_MEMBERS,
    PERIOD,
    VARIABLES,
    Place,
    YearMonth,
    compact,
    months_between,
)
from respeval.errors import InputError

Period = tuple[YearMonth, YearMonth]
_Examined = Mapping[Place, Findings]

#: Experiment, member, variable and grid.
_Series = tuple[str, str, str, str]

#: Outputs that are nothing but forcing are equal in all members.
_FORCING = {"rsdt"}


@dataclass(frozen=True)
class Report:
    """What `check_submission` found in one model's files.

    cells: (variable, experiment) -> what is there. lacks: what is missing or wrong, a line each.
    notes: what AIMIP takes, but should be known.
    """

    title: str
    num_files: int
    cells: Mapping[tuple[str, str], str]
    lacks: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def variables(self) -> list[str]:
        """Names of the table's rows: those that AIMIP asks for, then the others."""
        return list(dict.fromkeys(variable for variable, _ in self.cells))


def parse_period(text: str | None) -> Period:
    """`YYYYMM-YYYYMM`; AIMIP's own where there is none. Raises InputError for anything else."""
    if text is None:
        return PERIOD
    first, _, last = text.partition("-")
    try:
        start, end = ((int(part[:4]), int(part[4:])) for part in (first, last))
        if len(first) != 6 or len(last) != 6 or not (1, 1) <= (start[1], end[1]) <= (12, 12):
            raise ValueError
        if not 1 <= end[1] <= 12 or start > end:
            raise ValueError
    except ValueError:
        raise InputError(f"--period {text!r}: expected YYYYMM-YYYYMM, e.g. 197810-202412") from None
    return start, end


def check_submission(root: Path, period: Period = PERIOD) -> list[Report]:
    """Examine every file below a folder that holds {institute}/{model}/…; a report for each model.

    Raises InputError where there is no file of a submission.
    """
    if not root.is_dir():
        raise InputError(f"{root} is no folder")
    places, strays = dict[Place, Path](), list[str]()
    for path in sorted(root.rglob("*.nc")):
        if path.name.startswith("."):
            continue
        try:
            places[Place.of(path.relative_to(root))] = path
        except ValueError as error:
            strays.append(f"{path.relative_to(root)} is no file of a submission: {error}")
    if not places:
        first = f"; {strays[0]}" if strays else ""
        raise InputError(
            f"{root} holds no submission: no file in "
            "{institute}/{model}/{experiment}/{member}/Amon/{variable}/{grid}/{version}" + first
        )
    models = sorted({(place.institute, place.model) for place in places})
    reports = []
    for model in models:
        own = {p: examine(f, p) for p, f in places.items() if (p.institute, p.model) == model}
        theirs = [line for line in strays if line.startswith("/".join(model) + "/")]
        if model == models[0]:
            theirs += [
                s for s in strays if not any(s.startswith("/".join(m) + "/") for m in models)
            ]
        reports.append(_report("/".join(model), own, theirs, period))
    return reports


def _report(title: str, examined: _Examined, strays: Iterable[str], period: Period) -> Report:
    current, older = _newest(examined)
    lacks = [*_missing_parts(current), *_missing_months(current, period), *_unlike(current)]
    lacks += _grouped({place: found.lacks for place, found in current.items()})
    lacks += _twice(current)
    notes = _grouped({place: found.notes for place, found in current.items()})
    if older:
        notes.append(
            f"{len(older)} files of older versions were not looked at, e.g. {older[0].path}"
        )
    cells = _cells(current)
    return Report(title, len(current), cells, (*lacks, *strays), tuple(notes))


def _newest(examined: _Examined) -> tuple[dict[Place, Findings], list[Place]]:
    """The files of the newest version of each series, and the others."""
    newest: dict[_Series, str] = {}
    for place in examined:
        key = (place.experiment, place.member, place.variable, place.grid)
        newest[key] = max(newest.get(key, ""), place.version)
    current = {
        place: found
        for place, found in examined.items()
        if newest[place.experiment, place.member, place.variable, place.grid] == place.version
    }
    return current, [place for place in examined if place not in current]


def _members(places: Iterable[Place], experiment: str) -> list[str]:
    found = {place.member for place in places if place.experiment == experiment}
    return sorted(found, key=lambda member: (len(member), member))


def _missing_parts(current: _Examined) -> list[str]:
    """Experiments, members and variables that are not there, or not in every member."""
    present = {(p.experiment, p.member, p.variable) for p in current}
    lines = []
    everywhere = {variable for _, _, variable in present}
    for wanted in VARIABLES:
        if not everywhere & set(wanted):
            lines.append(
                f"{' or '.join(wanted)}: no file; AIMIP asks for it where the model has it"
            )
    for experiment in EXPERIMENTS:
        members = _members(current, experiment)
        if not members:
            lines.append(f"{experiment}: no file")
            continue
        if len(members) < NUM_MEMBERS:
            lines.append(f"{experiment}: {len(members)} members, AIMIP asks for {NUM_MEMBERS}")
        for variable in sorted(everywhere):
            without = [m for m in members if (experiment, m, variable) not in present]
            if without:
                lines.append(f"{experiment}: {variable} is missing in {_first(without, 'members')}")
    return lines


def _first(names: Sequence[str], what: str) -> str:
    if len(names) == 1:
        return names[0]
    return f"{len(names)} {what}, {names[0]} first"


def _missing_months(current: _Examined, period: Period) -> list[str]:
    """Months of the period that no file of a series holds, for all series that lack the same ones."""
    held: dict[_Series, set[YearMonth]] = defaultdict(set)
    for place, found in current.items():
        series = (place.experiment, place.member, place.variable, place.grid)
        held[series] |= set(months_between(place.first, place.last)) | set(found.months)
    wanted = list(months_between(*period))
    lacking: dict[str, list[_Series]] = defaultdict(list)
    for key, months in held.items():
        missing = [month for month in wanted if month not in months]
        if missing:
            runs = ", ".join(_spans(missing))
            lacking[runs].append(key)
    return [
        f"months {spans} are missing in {_where(keys, len(held))}"
        for spans, keys in lacking.items()
    ]


def _spans(months: Sequence[YearMonth]) -> list[str]:
    """Months as spans without gaps: `197810-197812`."""
    spans: list[list[YearMonth]] = []
    for month in months:
        if spans and list(months_between(spans[-1][1], month))[1:] == [month]:
            spans[-1][1] = month
        else:
            spans.append([month, month])
    return [compact(a) if a == b else f"{compact(a)}-{compact(b)}" for a, b in spans]


def _where(keys: Sequence[_Series], of: int) -> str:
    if len(keys) == of:
        return "every series" if of > 1 else " ".join(keys[0][:3])
    first = " ".join(keys[0][:3])
    return first if len(keys) == 1 else f"{len(keys)} of {of} series, {first} first"


def _unlike(current: _Examined) -> list[str]:
    """Files whose last months are equal in two members or experiments, and should not be."""
    by_digest: dict[tuple[str, str, str | None], list[Place]] = defaultdict(list)
    for place, found in current.items():
        if found.digest is not None and place.variable not in _FORCING:
            by_digest[place.variable, place.grid, found.digest].append(place)
    return [
        f"{variable}: {p.experiment} {p.member} and {q.experiment} {q.member} hold the same numbers"
        for (variable, _, _), (p, *others) in by_digest.items()
        for q in others
        if (p.experiment, p.member) != (q.experiment, q.member)
    ]


def _grouped(lines: Mapping[Place, Sequence[str]]) -> list[str]:
    """Equal lines of several files as one."""
    files: dict[str, list[Place]] = defaultdict(list)
    for place, found in lines.items():
        for line in found:
            files[line].append(place)
    return [
        f"{line} ({places[0].path.name}{_more(len(places) - 1)})" for line, places in files.items()
    ]


def _more(number: int) -> str:
    return f" and {number} more" if number else ""


def _twice(current: _Examined) -> list[str]:
    """Tracking ids that two files share."""
    owners: dict[str, Place] = {}
    lines = []
    for place, found in current.items():
        if found.tracking_id is None:
            continue
        owner = owners.setdefault(found.tracking_id, place)
        if owner != place:
            lines.append(f"{place.path.name} has the tracking_id of {owner.path.name}")
    return lines


def _cells(current: _Examined) -> dict[tuple[str, str], str]:
    """The table: for each variable and experiment how many members, months and faults."""
    asked = [name for entry in VARIABLES for name in entry]
    others = sorted({place.variable for place in current} - set(asked))
    cells = {}
    for variable in (*asked, *others):
        for experiment in EXPERIMENTS:
            found = {
                p: f
                for p, f in current.items()
                if (p.variable, p.experiment) == (variable, experiment)
            }
            cells[variable, experiment] = _cell(found)
    return cells


def _cell(found: _Examined) -> str:
    if not found:
        return "-"
    members = len({place.member for place in found})
    months = {len(set(f.months)) for f in found.values()}
    length = str(months.pop()) if len(months) == 1 else f"{min(months)} to {max(months)}"
    faulty = sum(bool(f.lacks) for f in found.values())
    return f"{members} × {length} months" + (f", {faulty} faulty" if faulty else "")
