"""Where a run's results go: a folder on the root, nowhere on the other processes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from respeval.fields.notices import Notice
from respeval.rollout.segments import Segment
from respeval.rollout.sums import GroupSums
from respeval.run_folder.restart import Array, Block, Restart


@dataclass(frozen=True)
class Progress:
    """How far the run in a folder has come; small, so that the root can tell all processes.

    num_segments, done_step: of the published segments. restart: what to go on from, None at the start.
    first_file: path of the first segment's file within the folder. quarantined: what blew up and
    counts no more, as `Quarantine` describes it. complete: whether the results of these segments
    are there, be they all that were planned (`finished`) or not. measured: see `RunOutput.keep`.
    remarks: what to know of a run that goes on. read: fingerprints of what it read, of steps done.
    """

    finished: bool = False
    complete: bool = False
    num_segments: int = 0
    done_step: int = 0
    restart: Restart | None = None
    first_file: str | None = None
    quarantined: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    measured: Mapping[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    read: Mapping[int, Mapping[str, str]] = field(default_factory=dict)

    @property
    def step(self) -> int:
        """How many steps are done, those of a running segment too."""
        return self.restart.step if self.restart else 0


class RunOutput:
    """Where a run's results go: nowhere, which is right for every process but the root."""

    def peek(self, extend: bool = False) -> Progress:
        """What `open` would say, or raise; nothing is made or changed."""
        return Progress()

    def open(self, extend: bool = False) -> Progress:
        """How far this very run has come. extend: whether it may be longer now."""
        return Progress()

    def keep(self, measured: Mapping[str, Any]) -> None:
        """Let the manifest name, from `begin` on, what was measured before the run began."""

    def warn(self, notices: Iterable[Notice]) -> list[str]:
        """Let the manifest keep these warnings, when it is written next; returns those it had not."""
        return []

    def note_read(self, fingerprints: Mapping[int, Mapping[str, str]]) -> None:
        """Let the manifest name, when it is written next, what was read; see `Forcing.fingerprints`."""

    def begin(self, case_text: str) -> None:
        """Say that the run is under way."""

    def publish_segment(self, segment: Segment, means: GroupSums) -> None:
        """Write a segment's means; they count from the next `commit` on."""

    def publish_part(self, step: int, block: Block, content: bytes) -> None:
        """Write the records of some members after `step` steps; they count from `commit` on."""

    def commit(
        self,
        step: int,
        record: Mapping[str, Array],
        quarantined: Mapping[str, Sequence[Mapping[str, Any]]],
    ) -> None:
        """Let what was published since the last time count."""

    @property
    def left_out(self) -> tuple[str, ...]:
        """Labels of the perturbations that blew up in every sample and are in no result."""
        return ()

    def files_from(self, step: int) -> tuple[list[Path], int]:
        """Files of the published segments that begin at this step or later, spin-up apart.

        Also the step at which they end.
        """
        return [], step

    def join(self) -> None:
        """Make the results of the segments that are not spin-up."""

    def finish(self) -> None:
        """Say that the run is complete."""

    def end_early(self, status: str, reason: str) -> None:
        """Say why the run ended early: `stopped` or `failed`."""

    def close(self) -> None:
        """Let other runs into the folder."""
