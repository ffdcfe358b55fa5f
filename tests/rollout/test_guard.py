"""Samples that leave the means: once, for their first fault, and not all of them."""

from __future__ import annotations

import pytest

from respeval.errors import BlowUpError
from respeval.rollout.guard import Fault, Quarantine
from respeval.rollout.members import Member

GROUPS = ("baseline", "p4K", "p8K")


def fault(sample: int, step: int, group: str = "baseline") -> Fault:
    return Fault(sample, group, "t2m", step, "2000-01-01", "0 to 400 K")


def test_a_sample_is_left_out_once_for_its_first_fault() -> None:
    quarantine = Quarantine(GROUPS, 4, fail_fast=False)
    found = [fault(2, 9, "p4K"), fault(0, 5), fault(2, 7), fault(1, 5)]
    assert quarantine.leave_out(found) == [fault(0, 5), fault(1, 5), fault(2, 7)]
    assert quarantine.leave_out([fault(2, 3)]) == []
    assert set(quarantine.samples) == {0, 1, 2}
    assert quarantine.new_faults([fault(2, 11), fault(3, 12)]) == [fault(3, 12)]


def test_the_manifest_names_the_samples_in_the_order_of_their_faults() -> None:
    quarantine = Quarantine(GROUPS, 4, fail_fast=False)
    for sample, step in ((3, 8), (2, 4), (1, 4)):
        quarantine.leave_out([fault(sample, step)])
    described = quarantine.described()["quarantined"]
    assert [entry["sample"] for entry in described] == [1, 2, 3]
    assert [Fault(**entry) for entry in described] == [fault(1, 4), fault(2, 4), fault(3, 8)]


def test_a_run_without_samples_ends_with_the_first_fault_of_all() -> None:
    quarantine = Quarantine(GROUPS, 2, fail_fast=False)
    quarantine.leave_out([fault(1, 6)])
    with pytest.raises(BlowUpError, match=r"in every sample: t2m of .* sample 1 .* \(step 6\)"):
        quarantine.leave_out([fault(0, 8)])


def test_fail_fast_ends_the_run_at_a_fault_of_a_sample_that_counts() -> None:
    quarantine = Quarantine(GROUPS, 2, fail_fast=True)
    quarantine.leave_out([fault(1, 6)])  # of an earlier command, without --fail-fast
    assert quarantine.new_faults([fault(1, 7)]) == []
    with pytest.raises(BlowUpError, match="sample 0"):
        quarantine.new_faults([fault(0, 8)])


def test_a_perturbation_that_puts_all_samples_out_leaves_alone() -> None:
    quarantine = Quarantine(GROUPS, 3, fail_fast=False)
    for sample, step in ((1, 4), (0, 6)):
        assert quarantine.leave_out([fault(sample, step, "p8K")]) == [fault(sample, step, "p8K")]
        assert quarantine.settle() == []
    quarantine.leave_out([fault(2, 9, "p8K")])
    assert set(quarantine.samples) == {0, 1, 2}
    assert quarantine.settle() == [fault(1, 4, "p8K")]
    assert (quarantine.groups, set(quarantine.samples)) == (("p8K",), set())
    assert quarantine.leaves_out(Member(0, 2))
    assert not quarantine.leaves_out(Member(0, 1))
    again = Quarantine(GROUPS, 3, fail_fast=False)
    again.restore(quarantine.described())
    assert again.described() == quarantine.described()
    assert again.settle() == []
    with pytest.raises(BlowUpError, match="in every sample"):  # no perturbation would be left
        again.leave_out([fault(sample, 20, "p4K") for sample in range(3)])


def test_the_perturbation_that_blew_up_most_leaves_and_other_faults_stay() -> None:
    quarantine = Quarantine((*GROUPS, "p2K"), 3, fail_fast=False)
    quarantine.leave_out([fault(0, 3, "p4K"), fault(1, 5, "p8K"), fault(2, 7, "p8K")])
    assert quarantine.settle() == [fault(1, 5, "p8K")]
    assert set(quarantine.samples) == {0}
    described = quarantine.described()
    assert [entry["sample"] for entry in described["quarantined"]] == [0]
    assert [entry["group"] for entry in described["quarantined_groups"]] == ["p8K"]
    assert len(described["faults"]) == 3


def test_a_baseline_that_blows_up_everywhere_ends_the_run() -> None:
    quarantine = Quarantine(GROUPS, 2, fail_fast=False)
    quarantine.leave_out([fault(0, 3), fault(0, 3, "p8K")])
    with pytest.raises(BlowUpError, match="in every sample: t2m of group baseline, sample 0"):
        quarantine.leave_out([fault(1, 5)])
