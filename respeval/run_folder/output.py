"""Where a run's results go: a folder on the root, nowhere on the other processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from respeval.rollout.segments import Segment
from respeval.rollout.sums import GroupSums
from respeval.run_folder.restart import Array, Block, Restart


@dataclass(frozen=True)
class Progress:
    """How far the run in a folder has come; small, so that the root can tell all processes.

    num_segments, done_step: of the published segments. restart: what to go on from, None at the start.
    first_file: path of the first segment's file within the folder. quarantined: samples that blew
    up and count no more, each with what happened. complete: whether the results of these segments
    are there, be they all that were planned (`finished`) or not. measured: see `RunOutput.keep`.
    """

    finished: bool = False
    complete: bool = False
    num_segments: int = 0
    done_step: int = 0
    restart: Restart | None = None
    first_file: str | None = None
    quarantined: tuple[dict[str, Any], ...] = ()
    measured: Mapping[str, Any] = field(default_factory=dict)

    @property
    def step(self) -> int:
        """How many steps are done, those of a running segment too."""
        return self.restart.step if self.restart else 0


class RunOutput(Protocol):
    """Where a run's results go; only the root's goes anywhere."""

    def peek(self, extend: bool = False) -> Progress: ...

    def open(self, extend: bool = False) -> Progress: ...

    def keep(self, measured: Mapping[str, Any]) -> None:
        """Let the manifest name, from `begin` on, what was measured before the run began."""

    def begin(self, case_text: str) -> None: ...

    def publish_segment(self, segment: Segment, means: GroupSums) -> None: ...

    def publish_part(self, step: int, block: Block, content: bytes) -> None: ...

    def commit(
        self, step: int, record: Mapping[str, Array], quarantined: Sequence[Mapping[str, Any]]
    ) -> None: ...

    def join(self) -> None: ...

    def finish(self) -> None: ...

    def end_early(self, status: str, reason: str) -> None: ...

    def close(self) -> None: ...


class NoOutput:
    """The output of every process but the root."""

    def peek(self, extend: bool = False) -> Progress:
        return Progress()

    def open(self, extend: bool = False) -> Progress:
        return Progress()

    def keep(self, measured: Mapping[str, Any]) -> None:
        pass

    def begin(self, case_text: str) -> None:
        pass

    def publish_segment(self, segment: Segment, means: GroupSums) -> None:
        pass

    def publish_part(self, step: int, block: Block, content: bytes) -> None:
        pass

    def commit(
        self, step: int, record: Mapping[str, Array], quarantined: Sequence[Mapping[str, Any]]
    ) -> None:
        pass

    def join(self) -> None:
        pass

    def finish(self) -> None:
        pass

    def end_early(self, status: str, reason: str) -> None:
        pass

    def close(self) -> None:
        pass
