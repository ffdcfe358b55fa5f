"""The folder of a run: which run it holds, and its manifest, which is the truth about it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from respeval.accumulate import GroupSums
from respeval.errors import InputError
from respeval.layout import Layout, join_segments
from respeval.output import CASE, MANIFEST, SEGMENTS, write_json, write_netcdf, write_text
from respeval.segments import Segment


class RunOutput(Protocol):
    """Where a run's results go; only the root's goes anywhere."""

    def is_finished(self) -> bool: ...

    def begin(self, case_text: str) -> None: ...

    def publish_segment(self, segment: Segment, means: GroupSums) -> None: ...

    def join(self) -> None: ...

    def finish(self) -> None: ...

    def fail(self, reason: str) -> None: ...


class NoOutput:
    """The output of every process but the root."""

    def is_finished(self) -> bool:
        return False

    def begin(self, case_text: str) -> None:
        pass

    def publish_segment(self, segment: Segment, means: GroupSums) -> None:
        pass

    def join(self) -> None:
        pass

    def finish(self) -> None:
        pass

    def fail(self, reason: str) -> None:
        pass


@dataclass
class RunFolder:
    """The folder of a run on the root process; the manifest is the truth about it.

    `header` holds what makes a run this run: digest of the case, checkpoint, versions.
    """

    path: Path
    header: dict[str, Any]
    layout: Layout
    origin_s: int
    segments: list[dict[str, Any]] = field(default_factory=list)

    #: Entries of the header that must agree for a folder to hold the same run.
    IDENTITY = ("case_digest", "checkpoint_sha256")

    def is_finished(self) -> bool:
        """Whether the folder holds this very run, done; False where it is free for it.

        Makes the folder. Raises InputError where it holds something else or can't be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            present = {entry.name for entry in self.path.iterdir()}
        except OSError as error:
            raise InputError(f"{self.path} can't be made ({error.strerror})") from None
        if not present:
            return False
        if MANIFEST not in present:
            raise InputError(
                f"{self.path} is not empty and holds no respeval run; choose another folder with -o"
            )
        manifest = read_manifest(self.path)
        for key in self.IDENTITY:
            if manifest.get(key) != self.header[key]:
                raise InputError(
                    f"{self.path} holds another run (its {key.replace('_', ' ')} differs); choose "
                    "another folder with -o"
                )
        if manifest.get("status") != "finished":
            raise InputError(
                f"{self.path} holds an unfinished run of this case ({manifest.get('status')}: "
                f"{manifest.get('reason', 'it ended without a word')}); choose another folder with -o "
                "or remove it"
            )
        return True

    def begin(self, case_text: str) -> None:
        """Write the resolved case and the first manifest."""
        try:
            (self.path / SEGMENTS).mkdir(exist_ok=True)
        except OSError as error:
            raise InputError(f"{self.path} can't be written ({error.strerror})") from None
        write_text(self.path / CASE, case_text)
        self._write_manifest("running")

    def publish_segment(self, segment: Segment, means: GroupSums) -> None:
        """Write a segment's file, then say so in the manifest."""
        name = f"{SEGMENTS}/{segment.file_name(self.layout.calendar)}"
        dataset = self.layout.segment_dataset(segment, self.origin_s, means)
        write_netcdf(dataset, self.path / name)
        self.segments.append(
            {
                "file": name,
                "first_step": segment.first_step,
                "stop_step": segment.stop_step,
                "spinup": segment.spinup,
            }
        )
        self._write_manifest("running")

    def finish(self) -> None:
        """Say that the run is complete."""
        self._write_manifest("finished")

    def fail(self, reason: str) -> None:
        """Say why the run ended early."""
        self._write_manifest("failed", reason)

    def join(self) -> None:
        """Write group_means.nc and zonal.nc from the segments that are not spin-up."""
        files = [self.path / entry["file"] for entry in self.segments if not entry["spinup"]]
        join_segments(files, self.path, self.layout.provenance)

    def _write_manifest(self, status: str, reason: str | None = None) -> None:
        content = {**self.header, "status": status, "segments": self.segments}
        if reason is not None:
            content["reason"] = reason
        write_json(self.path / MANIFEST, content)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a run's folder. Raises InputError where there is none."""
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{folder} is no folder of a run: it has no {MANIFEST}") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} can't be read ({error})") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} is no manifest: expected a JSON object")
    return content
