"""From the folder of a run to the files of a submission."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from respeval.aimip.cells import Cells
from respeval.aimip.files import Origin, write_members
from respeval.aimip.journal import Journal
from respeval.aimip.members import SavedMembers, open_members
from respeval.aimip.request import GRID_LABELS, NAME, NUM_MEMBERS, VERSION, Place
from respeval.aimip.sources import Target, find_targets
from respeval.errors import InputError
from respeval.files.publish import is_abandoned, make_folder, remove_files

#: Files that are written side by side.
_MOST_AT_ONCE = 60


@dataclass(frozen=True)
class Wish:
    """What the user says of a submission.

    given: outputs that the table does not know, as `parse_map` reads them. with_spinup: whether the
    spin-up's months are in it. pressure_levels: whether numbered layers are levels of the checkpoint's
    nominal pressures. version: v and a date, today's by default.
    """

    model: str
    institute: str
    grid: str = "gn"
    version: str | None = None
    institution: str | None = None
    further_info_url: str = "https://github.com/ai2cm/AIMIP"
    given: Mapping[str, tuple[str, float | None, float | None]] = field(default_factory=dict)
    with_spinup: bool = True
    pressure_levels: bool = False
    overwrite: bool = False


@dataclass(frozen=True)
class Exported:
    """What was written: files, months of each, and lines on what was left out."""

    places: tuple[Place, ...]
    num_months: int
    remarks: tuple[str, ...]


def export_run(
    folder: Path, root: Path, wish: Wish, report: Callable[[str], None] = lambda text: None
) -> Exported:
    """Write the monthly means of every member of a run below `root`.

    An export that was killed goes on: what it has written is not written again.

    report: called with a line on each variable. Raises InputError where a name can't be a CMIP name,
    the folder holds no run that AIMIP can use, or a file is there already.
    """
    version = _check_names(wish)
    saved = open_members(folder, wish.with_spinup)
    asked = {name: value for name, value in asdict(wish).items() if name != "overwrite"}
    journal = Journal.of(folder, root, asked, version)
    targets, remarks = find_targets(saved.units, wish.given, saved.levels_hPa, wish.pressure_levels)
    if not targets:
        raise InputError(f"{folder} has no output that CMIP has a name for (see --map)")
    places = {
        target.cmip.name: [
            _place(saved, wish, journal.version, target, experiment, sample)
            for experiment in saved.experiments
            for sample in saved.samples
        ]
        for target in targets
    }
    every = tuple(place for of_target in places.values() for place in of_target)
    older = [path for path in _older_files(root, every) if not journal.is_own(path)]
    if older and not wish.overwrite:
        raise InputError(
            f"{older[0]} is there already (and {len(older) - 1} more); give --overwrite, or another "
            "--version"
        )
    origin = Origin(
        wish.institution or wish.institute, wish.further_info_url, saved.checkpoint_sha256
    )
    with journal.kept():
        for target in targets:
            of_target = places[target.cmip.name]
            _write(root, saved, target, of_target, origin, journal)
            report(f"{target.cmip.name}: {len(of_target)} files, of {', '.join(target.outputs)}")
        remove_files(set(older) - {root / place.path for place in every})
    if len(saved.samples) < NUM_MEMBERS:
        remarks.append(f"note: {len(saved.samples)} members; AIMIP asks for {NUM_MEMBERS}")
    return Exported(every, len(saved.months), (*saved.remarks, *remarks))


def _write(
    root: Path,
    saved: SavedMembers,
    target: Target,
    places: Sequence[Place],
    origin: Origin,
    journal: Journal,
) -> None:
    """The files of a variable; places: of every experiment's samples in their order."""
    members = [(group, s) for group in saved.experiments.values() for s in saved.samples]
    cells = Cells(saved.grid)
    for place in places:
        make_folder(root / place.folder)
        left = (root / place.folder).iterdir()
        remove_files(path for path in left if is_abandoned(path.name))
    for first in range(0, len(members), _MOST_AT_ONCE):
        part = slice(first, first + _MOST_AT_ONCE)
        paths = [place.path for place in places[part]]
        if journal.are_done(paths):
            continue
        journal.begin(paths)
        months = saved.fields(target.outputs, members[part])
        write_members(root, places[part], target, cells, months, origin, journal.within)
        journal.end(paths)


def _check_names(wish: Wish) -> str:
    """The version. Raises InputError where a name can't stand in a file's name."""
    for option, name in (("--model", wish.model), ("--institute", wish.institute)):
        if not NAME.fullmatch(name):
            raise InputError(
                f"{option} {name!r}: expected letters, digits, '.' and '-', because '_' separates the "
                "words of a file's name"
            )
    if wish.grid not in GRID_LABELS:
        raise InputError(f"--grid-label {wish.grid!r}: expected {' or '.join(GRID_LABELS)}")
    version = wish.version or f"v{datetime.now(UTC):%Y%m%d}"
    if not VERSION.fullmatch(version):
        raise InputError(f"--version {version!r}: expected v and a date, such as v20261231")
    return version


def _place(
    saved: SavedMembers, wish: Wish, version: str, target: Target, experiment: str, sample: int
) -> Place:
    first, last = saved.months[0].start, saved.months[-1].start
    return Place(
        wish.institute,
        wish.model,
        experiment,
        f"r{sample + 1}i1p1f1",
        target.cmip.name,
        wish.grid,
        version,
        (first.year, first.month),
        (last.year, last.month),
    )


def _older_files(root: Path, places: Sequence[Place]) -> list[Path]:
    """Files that stand where these will, of whatever months."""
    return sorted(
        path for place in places for path in (root / place.folder).glob(f"{place.stem}_*.nc")
    )
