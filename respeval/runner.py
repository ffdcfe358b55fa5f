"""Drives a run: steps it, and reduces and publishes its segments in the order of the commit."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NoReturn

import torch

from respeval.distributed.comm import Comm
from respeval.distributed.held import HeldErrors
from respeval.distributed.stop import StopSignals, StopVote
from respeval.errors import (
    BlowUpError,
    InputError,
    LostProcessError,
    SharedInputError,
    StoppedError,
    enough_memory,
    in_one_line,
    unexpected,
)
from respeval.fields.notices import Notice
from respeval.fields.ranges import OUT_OF_RANGE
from respeval.plan.execution import Execution, make_rollout
from respeval.plan.goal import Goal
from respeval.plan.plan import Plan, date_of
from respeval.rollout.guard import Fault, Quarantine, RangeGuard, earliest
from respeval.rollout.members import deal_members
from respeval.rollout.segments import Segment
from respeval.rollout.steps import Step
from respeval.rollout.sums import GroupSums, MemberSums
from respeval.run_folder.output import RunOutput
from respeval.run_folder.restart import Array, Block, Snapshot, blocks_of, joined, record_on

_LESS_MEMORY = (
    "give --samples-per-batch 1 or a shorter --window, run fewer samples or perturbations at a time, or on "
    "more processes, and the same command goes on"
)


class Reporter:
    """What a run tells while it runs: nothing, on every process but the root."""

    def planned(self, plan: Plan, first_step: int) -> None:
        """What will run, and how many of its steps are done."""

    def stepped(self, step: int) -> None:
        """So many steps are done."""

    def published(self, segment: Segment, means: GroupSums) -> None:
        """A segment is published."""

    def quarantined(self, fault: Fault) -> None:
        """A sample leaves the means."""

    def left_out(self, fault: Fault, samples: Collection[int]) -> None:
        """A perturbation, whose first fault this is, leaves the results; these samples count no more."""

    def noticed(self, text: str) -> None:
        """A warning came up while the forcing was read."""

    def close(self) -> None:
        """The run has ended, well or badly."""


def execute(
    plan: Plan,
    output: RunOutput,
    comm: Comm,
    execution: Execution,
    reporter: Reporter,
    signals: StopSignals | None = None,
    begin: Snapshot | None = None,
    quarantined: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    goal: Goal | None = None,
) -> None:
    """Run all segments of the plan and publish each one. Every process calls it.

    A sample of which a member leaves the range of physical values is quarantined: it counts no more,
    in any group, from the running segment on. A perturbation that blows up in every sample leaves alone.

    begin, quarantined: this process's members and what is out of the means (see `Quarantine`) where an
        earlier run of the plan has come to.
    goal: with it the run ends at the first segment's end at which the root finds it reached.
    Raises BlowUpError where no sample is left, or at the first one with `execution.fail_fast`, what
    was published stays; StoppedError where one of the processes got a signal, what was done is saved;
        InputError where forcing can't be read or results can't be written. All processes raise them
        together, whichever of them met the error.
    """
    signals = signals or StopSignals()
    output.warn(plan.notices.told)
    comm.together(lambda: output.begin(plan.case.to_yaml()))
    reporter.planned(plan, begin.step if begin else 0)
    try:
        with enough_memory("for the members' sums and states", _LESS_MEMORY):
            course = _Course(plan, output, comm, execution, reporter, signals, goal)
            course.quarantine.restore(quarantined or {})
            with signals.deferred(), torch.inference_mode():
                course.run(begin)
    except StoppedError as error:
        output.warn(plan.notices.told)
        output.end_early("stopped", str(error))
        comm.wait()  # a launcher that sees one process end may end the root too
        signals.ignore_more()
        raise
    except BlowUpError as error:
        output.warn(plan.notices.told)
        blamed = _with_inputs_blamed(error, plan)
        output.end_early("failed", str(blamed))
        comm.wait()
        raise blamed from None
    except (InputError, KeyboardInterrupt) as error:
        output.warn(plan.notices.told)
        output.end_early("failed", str(error) or "interrupted")
        if isinstance(error, SharedInputError):
            comm.wait()
        raise
    except LostProcessError:
        raise  # a launcher may start all processes again at any moment
    except Exception as error:
        output.end_early("failed", unexpected(error))
        raise


def _with_inputs_blamed(error: BlowUpError, plan: Plan) -> BlowUpError:
    """The error, with the inputs that were out of range before it: they may be at fault."""
    told = [text for text in plan.warnings if OUT_OF_RANGE in text]
    return (
        BlowUpError(f"{error}; its inputs may be at fault: {in_one_line(told)}") if told else error
    )


class _Course:
    """One process's side of a run: its members, their sums, and the commits that all take part in.

    Between two collectives a process's errors are held (see `HeldErrors`).
    """

    def __init__(
        self,
        plan: Plan,
        output: RunOutput,
        comm: Comm,
        execution: Execution,
        reporter: Reporter,
        signals: StopSignals,
        goal: Goal | None,
    ) -> None:
        self._plan, self._output, self._comm, self._goal = plan, output, comm, goal
        self._execution, self._reporter, self._signals = execution, reporter, signals
        spec = plan.emulator.spec
        dealt = deal_members(plan.num_samples, len(plan.case.groups), comm.num_data)
        self._counts = [len(members) for members in dealt]
        self._members = dealt[comm.data_rank]
        self._masks = torch.from_numpy(plan.layout.surface_masks()).to(comm.device)
        self._tiles = comm.mesh.tiles(spec.grid.shape, spec.grid.north_to_south)
        self._tile = self._tiles[comm.mesh.place]
        shape = (len(self._members), len(spec.outputs), *self._tile.size)
        self._sums = MemberSums(shape, comm.device)
        self._guard = RangeGuard(spec, self._members, comm.device)
        self.quarantine = Quarantine(plan.case.groups, plan.num_samples, execution.fail_fast)
        self._outputs = [variable.name for variable in spec.outputs]
        self._held = HeldErrors(comm)
        self._is_fatal = False
        self._num_told = 0

    def run(self, begin: Snapshot | None) -> None:
        """Step to the end, or to the step where a signal is heeded."""
        first_step = begin.step if begin else 0
        with contextlib.closing(self._steps_from(begin)) as steps:
            vote = StopVote(self._comm, self._signals, first_step)
            for segment in self._segments_from(first_step):
                self._run_segment(segment, max(segment.first_step, first_step), steps, vote)
            self._held.gather(None)

    def _steps_from(self, begin: Snapshot | None) -> Generator[Step, None, None]:
        rollout = make_rollout(self._plan, self._members, self._execution, self._comm)
        if begin is None:
            return rollout.steps()
        device = self._comm.device
        if begin.totals is not None:
            num_steps = begin.step - self._plan.segments[0].first_step
            self._sums.restore(begin.totals.to(device), num_steps)
        conserved = None if begin.conserved is None else begin.conserved.to(device)
        return rollout.steps(begin.step, begin.state.to(device), conserved)

    def _segments_from(self, first_step: int) -> Iterator[Segment]:
        """The segments that are left, as far as the goal asks for them."""
        segments = self._plan.segments
        done_step = segments[0].first_step if segments else self._plan.num_steps
        if first_step == done_step and self._is_goal_reached():
            return
        for segment in segments:
            yield segment
            if not segment.spinup and self._is_goal_reached():
                return

    def _is_goal_reached(self) -> bool:
        """What the root finds, on every process."""
        if self._goal is None:
            return False
        return self._held.gather(bool(self._held.attempt(self._goal.is_reached)))[0]

    def _run_segment(
        self, segment: Segment, first_step: int, steps: Iterator[Step], vote: StopVote
    ) -> None:
        """Step to the segment's end and publish it. Raises StoppedError where a signal is heeded."""
        last: Step | None = None
        for step in range(first_step, segment.stop_step):
            last = None  # the next step needs the memory of its outputs
            last = self._advance(steps, step)
            stop = vote.is_stop(step + 1, self._held.any or self._is_fatal)
            if stop and step + 1 < segment.stop_step:
                self._leave_out_faulty()
                self._save(step + 1, last, self._sums.total)
                self._raise_stopped(step + 1)
        self._end_segment(segment, last)
        if stop:
            self._raise_stopped(segment.stop_step)

    def _advance(self, steps: Iterator[Step], step: int) -> Step | None:
        """One step of this process's members into the sums; None without members."""
        last = None
        if self._members:
            split = self._comm.mesh.is_split
            last = self._held.attempt(lambda: self._next(steps), takes_part=split)
        if last is not None:
            self._sums.add(last.outputs)
            self._guard.check(last.outputs, step)
            if self._guard.is_due(step):
                if self._comm.num_processes == 1:
                    self._leave_out_faulty()
                elif self._execution.fail_fast:
                    # Those that share this process's fields would wait for it if it stopped now.
                    self._is_fatal = self._is_fatal or self._ends_run(self._faults())
        self._reporter.stepped(step + 1)
        return last

    def _next(self, steps: Iterator[Step]) -> Step:
        with enough_memory("to step the members", _LESS_MEMORY), self._comm.stepping():
            return next(steps)

    def _faults(self) -> list[Fault]:
        """The first fault of each member of this process, in its block of the grid."""
        return self._guard.faults(self._plan.case.groups, self._plan.forcing.starts)

    def _ends_run(self, found: list[Fault]) -> bool:
        try:
            self.quarantine.new_faults(found)
        except BlowUpError:
            return True
        return False

    def _leave_out_faulty(self) -> None:
        """Agree with the other processes on the samples that count no more, and share warnings.

        Raises BlowUpError, on all of them, where a fault ends the run.
        """
        told = self._held.gather((self._faults(), self._untold()))
        groups = self._plan.case.groups
        found = earliest((f for faults, _ in told for f in faults), self._outputs, groups)
        noticed = [notice for _, notices in told for notice in notices]
        self._plan.notices.take(noticed)
        for text in self._output.warn(noticed):
            self._reporter.noticed(text)
        for fault in self.quarantine.leave_out(self.quarantine.new_faults(found)):
            self._reporter.quarantined(fault)

    def _untold(self) -> tuple[Notice, ...]:
        """What this process has noticed and not told the others."""
        notices = self._plan.notices.told
        new = notices[self._num_told :]
        self._num_told = len(notices)
        return new

    def _end_segment(self, segment: Segment, last: Step | None) -> None:
        """Reduce, publish the segment, publish the restart, and let the manifest name both."""
        case = self._plan.case
        self._leave_out_faulty()
        for fault in self.quarantine.settle():
            self._reporter.left_out(fault, self.quarantine.samples)
        totals = GroupSums.encode(
            self._sums,
            self._members,
            len(case.groups),
            self._plan.num_samples,
            self._masks,
            case.save_members,
            {member for member in self._members if self.quarantine.leaves_out(member)},
            self._tile,
        )
        means = totals.at_root(self._comm, self._tiles).means()
        self._held.attempt(lambda: self._output.publish_segment(segment, means))
        self._sums.reset()
        self._save(segment.stop_step, last, None)
        if self._comm.mesh.is_split:
            self._held.gather(None)  # nobody is to step where others, who hold an error, don't
        self._reporter.published(segment, means)

    def _save(self, step: int, last: Step | None, totals: torch.Tensor | None) -> None:
        """Bring every member's record to the root, block by block, and commit."""
        snapshot = None
        if last is not None:
            state = last.outputs[:, : len(self._plan.emulator.spec.prognostic)]
            snapshot = Snapshot(step, state, last.conserved, totals)
        own = self._comm.from_root(snapshot.record() if snapshot else {})
        record = record_on(own, self._tile.shape)
        for block in blocks_of(self._counts, record):
            parts = self._blocks_at_root(block, record, snapshot)
            if parts:
                written = joined(parts, record, self._tiles).numpy().tobytes()
                self._held.attempt(partial(self._output.publish_part, step, block, written))
        self._output.note_read(self._plan.forcing.fingerprints)
        self._held.attempt(lambda: self._output.commit(step, record, self.quarantine.described()))

    def _blocks_at_root(
        self, block: Block, record: dict[str, Array], snapshot: Snapshot | None
    ) -> list[torch.Tensor]:
        """Records of these members, [row, byte], from each process that has a block of their fields;
        on the root's CPU, nothing elsewhere. record: of whole fields."""
        comm, found = self._comm, []
        own = sum(self._counts[: comm.data_rank])
        for place, tile in enumerate(self._tiles):
            packed, owner = None, block.owner * comm.mesh.size + place
            if owner == comm.rank and snapshot is not None:
                packed = snapshot.pack(block.first - own, block.stop - own)
            width = sum(array.num_bytes for array in record_on(record, tile.size).values())
            content = comm.to_root(owner, packed, (block.stop - block.first, width))
            if content is not None:
                found.append(content.cpu())
        return found

    def _raise_stopped(self, step: int) -> NoReturn:
        self._held.gather(None)
        signal = self._signals.requested or "a signal to another process"
        raise StoppedError(
            f"stopped by {signal} after step {step} of {self._plan.num_steps} "
            f"({date_of(self._plan, step)}); run the same command again to go on"
        )
