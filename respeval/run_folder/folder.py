"""The folder of a run: which run it holds, and its manifest, which is the truth about it."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from respeval.errors import InputError, in_one_line
from respeval.fields.notices import Notice, Notices
from respeval.files.checksums import Verification
from respeval.files.lock import LOCKS, FolderLock
from respeval.files.netcdf import write_netcdf
from respeval.files.publish import (
    is_abandoned,
    is_partial,
    make_folder,
    make_inner_folder,
    remove_files,
    write_bytes,
    write_json,
    write_text,
)
from respeval.rollout.forced import ForcedMeans
from respeval.rollout.segments import Segment
from respeval.rollout.sums import GroupSums
from respeval.run_folder.identity import differences, is_only_longer, other_noise
from respeval.run_folder.joining import join_segments, merge_segments, to_merge
from respeval.run_folder.layout import Layout
from respeval.run_folder.manifest import (
    QUARANTINE,
    READ,
    RESULTS,
    SEGMENT_NAME,
    VERSIONS,
    checksums_of_segments,
    read_fingerprints,
    read_manifest,
    read_measured,
    read_quarantine,
    read_segments,
    read_versions,
    read_warnings,
    segment_numbers,
)
from respeval.run_folder.names import CASE, MANIFEST, RESTART, SEGMENTS
from respeval.run_folder.output import Progress, RunOutput
from respeval.run_folder.restart import RESTART_NAME, Array, Block, Part, Restart

_DATE = re.compile(r"None|[\d:T+Z-]{10,40}")


@dataclass
class RunFolder(RunOutput):
    """The folder of a run on the root process; the manifest is the truth about it.

    header: what makes a run this run (see `header_of`). Files are published before the manifest that
    names them; a file that it does not name does not count and may be replaced. forced: means of the
    layout's fluxes.
    """

    path: Path
    header: dict[str, Any]
    layout: Layout
    origin_s: int
    forced: ForcedMeans | None = None
    segments: list[dict[str, Any]] = field(default_factory=list)
    restart: Restart | None = None
    quarantined: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    measured: dict[str, Any] = field(default_factory=dict)
    versions: list[dict[str, Any]] = field(default_factory=list)
    warnings: Notices = field(default_factory=Notices)
    read: dict[int, dict[str, str]] = field(default_factory=dict)
    _new_segments: list[dict[str, Any]] = field(default_factory=list)
    _new_parts: list[Part] = field(default_factory=list)
    _results: dict[str, str] = field(default_factory=dict)
    _lock: FolderLock | None = None

    def peek(self, extend: bool = False) -> Progress:
        if not self.path.is_dir():
            if self.path.exists():
                raise InputError(f"{self.path} can't be made (File exists)")
            return Progress()
        progress = self._look(extend)
        if not progress.finished:
            FolderLock(self.path).check_free()
        return progress

    def open(self, extend: bool = False) -> Progress:
        """How far this very run has come in the folder, which is made if it is not there.

        The folder is this process's until `close`, unless the run is finished. extend: whether the
        run may be longer now. Raises InputError where the folder holds something else, is in use, or
        can't be made or read.
        """
        make_folder(self.path)
        progress = self._look(extend)
        lock = FolderLock(self.path)
        if progress.finished:
            for name in LOCKS:  # a process may be killed between its last work and its lock
                FolderLock(self.path, name).clear()
            return progress
        lock.acquire()
        self._lock = lock
        return self._look(extend)  # another run may have gone on in between

    def close(self) -> None:
        if self.forced is not None:
            self.forced.close()
        if self._lock is not None:
            self._lock.release()

    def _look(self, extend: bool) -> Progress:
        names = (entry.name for entry in self.path.iterdir())
        present = {name for name in names if name not in LOCKS and not is_partial(name)}
        if not present:
            return Progress()
        if MANIFEST not in present:
            raise InputError(
                f"{self.path} is not empty and holds no respeval run; choose another folder with -o"
            )
        manifest = read_manifest(self.path)
        self._check_same_run(manifest, extend)
        self.segments = read_segments(self.path, manifest)
        self.quarantined = read_quarantine(self.path, manifest)
        self.measured = read_measured(self.path, manifest)
        self.versions = read_versions(self.path, manifest)
        self.warnings = Notices(read_warnings(self.path, manifest))
        self.read = read_fingerprints(self.path, manifest)
        self._check_quarantine()
        source = str(self.path / MANIFEST)
        entry = manifest.get("restart")
        self.restart = Restart.from_json(entry, source) if entry is not None else None
        progress = self._progress(manifest)
        if progress.step > 0 and not progress.finished:
            self._check_same_noise(manifest)
        self._keep_date(manifest)
        if progress.first_file:
            self.layout = self.layout.with_masks_of(self.path / progress.first_file)
        return progress

    def _check_quarantine(self) -> None:
        """Raise InputError where a sample or a perturbation is named that this run has not."""
        num_samples = self.header.get("num_samples")
        perturbed = self.layout.groups[1:]
        for fault in itertools.chain(*self.quarantined.values()):
            if num_samples and fault["sample"] >= num_samples:
                raise InputError(f"{self.path / MANIFEST}: its quarantined samples can't be read")
        if any(label not in perturbed for label in self.left_out):
            raise InputError(f"{self.path / MANIFEST}: its quarantined_groups can't be read")

    @property
    def left_out(self) -> tuple[str, ...]:
        """See `RunOutput`."""
        return tuple(fault["group"] for fault in self.quarantined.get("quarantined_groups", ()))

    def _keep_date(self, manifest: Mapping[str, Any]) -> None:
        """Let all files of the run tell the date on which it was begun."""
        created = str(manifest.get("created", self.header.get("created")))
        if not _DATE.fullmatch(created):
            raise InputError(f"{self.path / MANIFEST}: 'created' is no date; see --restart-fresh")
        self.header["created"] = created
        provenance = {**self.layout.provenance, "history": f"{created} respeval run"}
        self.layout = replace(self.layout, provenance=provenance)

    def _check_same_run(self, manifest: Mapping[str, Any], extend: bool) -> None:
        found = differences(manifest, self.header, extend)
        if not found:
            return
        longer = is_only_longer(manifest, self.header)
        advice = "; give --extend to lengthen it," if longer else "; choose another folder with -o"
        raise InputError(
            f"{self.path} holds another run: {in_one_line(found)}{advice} or start over beside it "
            "with --restart-fresh"
        )

    def _check_same_noise(self, manifest: Mapping[str, Any]) -> None:
        changed = other_noise(manifest, self.header)
        if changed is not None:
            raise InputError(
                f"{self.path} can't be continued: its noise was drawn in another way ({changed}); let the "
                "respeval that began it go on, or start over beside it with --restart-fresh"
            )

    def _progress(self, manifest: Mapping[str, Any]) -> Progress:
        done = int(self.segments[-1]["stop_step"]) if self.segments else 0
        reached = self.restart.step if self.restart else 0
        num_steps = int(self.header.get("num_steps", reached))
        inside = self.restart is not None and "totals" in self.restart.record
        if reached < done or inside != (reached > done):
            raise InputError(
                f"{self.path} can't be continued: its manifest names no restart files for step {done}; "
                "start over beside it with --restart-fresh"
            )
        if num_steps < reached:
            raise InputError(
                f"{self.path} holds {reached} steps already, --extend to {num_steps} would shorten it"
            )
        complete = manifest.get("status") == "finished" and all(
            (self.path / name).is_file() for name in RESULTS
        )
        finished = complete and done == num_steps
        first_file = self.segments[0]["file"] if self.segments else None
        number = segment_numbers(self.segments[-1]["file"])[1] if self.segments else 0
        return Progress(
            finished,
            complete,
            number,
            done,
            self.restart,
            first_file,
            self.quarantined,
            self.measured,
            self._remarks(number, reached),
            {step: found for step, found in self.read.items() if step < max(reached, done)},
        )

    def _remarks(self, num_segments: int, step: int) -> tuple[str, ...]:
        """That a run goes on under other versions, if it does."""
        before = self.versions[-1]["versions"] if self.versions else {}
        now = self.header.get("versions", {})
        names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
        if not before or not names or not step:
            return ()
        changed = in_one_line(
            [f"{n} {before.get(n, 'none')} -> {now.get(n, 'none')}" for n in names]
        )
        return (
            f"the run goes on under other versions from segment {num_segments + 1} (step {step}) on: "
            f"{changed}; its numbers may differ from those of one respeval by rounding, or by more",
        )

    def _note_versions(self) -> None:
        """From where on the segments are computed under the versions of this process."""
        versions = self.header.get("versions")
        step = self.restart.step if self.restart else 0
        if versions is None or (self.versions and self.versions[-1]["versions"] == versions):
            return
        if step and step >= self.header.get("num_steps", step + 1):
            return  # only the results are made anew
        number = segment_numbers(self.segments[-1]["file"])[1] if self.segments else 0
        earlier = [entry for entry in self.versions if entry["from_step"] < step]
        new = {"from_step": step, "from_segment": number + 1, "versions": dict(versions)}
        self.versions = [*earlier, new]

    def keep(self, measured: Mapping[str, Any]) -> None:
        self.measured = dict(measured)

    def warn(self, notices: Iterable[Notice]) -> list[str]:
        return self.warnings.take(notices)

    def note_read(self, fingerprints: Mapping[int, Mapping[str, str]]) -> None:
        self.read = {step: dict(found) for step, found in fingerprints.items()}

    def begin(self, case_text: str) -> None:
        """Say in the manifest that the run is under way; make what it writes into."""
        self._note_versions()
        self._write_manifest("running")
        for name in (SEGMENTS, RESTART):
            make_inner_folder(self.path / name)
        write_text(self.path / CASE, case_text)
        for folder in (self.path, self.path / SEGMENTS, self.path / RESTART):
            remove_files(path for path in folder.iterdir() if is_abandoned(path.name))
        self._remove_unnamed()
        if self.forced is not None and self.layout.fluxes:
            self.forced.begin(self.segments[-1]["stop_step"] if self.segments else 0)

    def publish_segment(self, segment: Segment, means: GroupSums) -> None:
        name = f"{SEGMENTS}/{segment.file_name(self.layout.calendar)}"
        fluxes = self.forced.of(segment) if self.forced and self.layout.fluxes else None
        dataset = self.layout.segment_dataset(segment, self.origin_s, means, fluxes)
        entry = {
            "file": name,
            "sha256": write_netcdf(dataset, self.path / name),
            "first_step": segment.first_step,
            "stop_step": segment.stop_step,
            "spinup": segment.spinup,
        }
        self._new_segments = [entry]

    def publish_part(self, step: int, block: Block, content: bytes) -> None:
        name = f"{RESTART}/{step:09d}_{block.first:05d}.bin"
        sha256 = write_bytes(self.path / name, content)
        self._new_parts.append(Part(name, block.first, block.stop, sha256))

    def _kept(self) -> list[dict[str, Any]]:
        """The manifest's entries of the segments that are not spin-up."""
        return [entry for entry in self.segments if not entry["spinup"]]

    def files_from(self, step: int) -> tuple[list[Path], int]:
        new = [entry for entry in self._kept() if entry["first_step"] >= step]
        return [self.path / entry["file"] for entry in new], new[-1]["stop_step"] if new else step

    def commit(
        self,
        step: int,
        record: Mapping[str, Array],
        quarantined: Mapping[str, Sequence[Mapping[str, Any]]],
    ) -> None:
        """Let the manifest name what was published since the last time; remove the older restart."""
        self.segments += self._new_segments
        self.restart = Restart(step, dict(record), tuple(self._new_parts))
        self._new_segments, self._new_parts = [], []
        self.quarantined = {key: list(map(dict, faults)) for key, faults in quarantined.items()}
        self._write_manifest("running")
        self._remove_unnamed()
        part = to_merge(self.segments)
        if part is not None:
            self.segments[part] = [merge_segments(self.path, self.segments[part])]
            self._write_manifest("running")
            self._remove_unnamed()

    def _remove_unnamed(self) -> None:
        """Remove what the manifest names no longer: files that an older one named, or none yet."""
        named = {entry["file"] for entry in self.segments}
        named |= {part.file for part in self.restart.parts} if self.restart else set()
        for folder, pattern in ((SEGMENTS, SEGMENT_NAME), (RESTART, RESTART_NAME)):
            remove_files(
                path
                for path in (self.path / folder).iterdir()
                if pattern.fullmatch(path.name) and f"{folder}/{path.name}" not in named
            )

    def finish(self) -> None:
        """Say that the run is complete, and what its results' checksums are."""
        self._write_manifest("finished")

    def end_early(self, status: str, reason: str) -> None:
        """Say why the run ended early: `stopped` or `failed`; as well as the disk allows."""
        with contextlib.suppress(InputError):
            self._write_manifest(status, reason)

    def join(self) -> None:
        """Write group_means.nc and zonal.nc from the segments that are not spin-up.

        Perturbations that blew up in every sample are in neither.
        Raises InputError where a segment's file is damaged.
        """
        if self.forced is not None:
            self.forced.close()  # what it reads ahead is no concern of the results
        entries = self._kept()
        with Verification(self.path, [checksums_of_segments(entries)]) as verification:
            verification.finish()
        files = [self.path / entry["file"] for entry in entries]
        kept = [group not in self.left_out for group in self.layout.groups]
        self._results = join_segments(files, self.path, self.layout.provenance, kept)

    def _write_manifest(self, status: str, reason: str | None = None) -> None:
        content = {**self.header, "status": status}
        if reason is not None:
            content["reason"] = reason
        if self._lock is not None:
            self._lock.check()
        if self.measured:
            content["measured"] = self.measured
        if self.versions:
            content[VERSIONS] = self.versions
        content["warnings"] = list(self.warnings.texts)
        content[READ] = {str(step): found for step, found in self.read.items()}
        content |= {key: self.quarantined.get(key, []) for key in QUARANTINE}
        content["segments"] = self.segments
        content["restart"] = self.restart.to_json() if self.restart else None
        content["results"] = self._results
        write_json(self.path / MANIFEST, content)


def fresh_folder(path: Path, num_restarts: int) -> Path:
    """`path` if it is free, else the first free one of PATH-2, PATH-3, …, which is made.

    num_restarts: how often a launcher has started this command again; it then goes on in the last
    one that there is. Raises InputError where a folder can't be made.
    """
    last, free = free_folder(path)
    if num_restarts and last is not None:
        return last
    make_folder(free)
    return free


def free_folder(path: Path) -> tuple[Path | None, Path]:
    """The last of PATH, PATH-2, PATH-3, … that holds something, and the next one; makes nothing."""
    taken = None
    for k in itertools.count(1):
        candidate = path if k == 1 else path.with_name(f"{path.name}-{k}")
        if not candidate.is_dir() or not any(candidate.iterdir()):
            return taken, candidate
        taken = candidate
    raise AssertionError("there is always a next name")
