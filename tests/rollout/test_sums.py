"""Sums that are divided once: exact means, unequal counts, a million steps, and dealing."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from respeval.fields.grid import SURFACES
from respeval.rollout.members import Member, deal_members
from respeval.rollout.sums import (
    WAITING_BYTES,
    WAITING_STEPS,
    GroupSums,
    MemberSums,
    circle_means,
    most_waiting,
)

CPU = torch.device("cpu")
SHAPE = (2, 3, 4)  # output, lat, lon


def masks() -> torch.Tensor:
    land = torch.zeros(3, 4, dtype=torch.bool)
    land[0, 1:3] = True  # circle 1 is all ocean, circle 2 all land
    land[2] = True
    return torch.stack([torch.ones_like(land), land, ~land])


def steps(num_members: int, num_steps: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num_steps, num_members, *SHAPE, generator=generator) + 288.0


def accumulate(outputs: torch.Tensor, members: list[Member], keep: bool = False) -> GroupSums:
    sums = MemberSums((len(members), *SHAPE), CPU)
    for step in outputs:
        sums.add(step)
    return GroupSums.encode(sums, members, 2, 3, masks(), keep)


def test_group_means_are_the_means_over_members_and_steps() -> None:
    members = [Member(s, g) for s in range(3) for g in range(2)]
    outputs = steps(6, 7)
    means = accumulate(outputs, members, keep=True).means()
    for group in range(2):
        rows = [i for i, member in enumerate(members) if member.group == group]
        expected = outputs[:, rows].double().mean(dim=(0, 1))
        assert torch.allclose(means.field[group], expected, rtol=1e-15, atol=0)
    assert means.member is not None
    for row, (sample, group) in enumerate(members):
        expected = outputs[:, row].double().mean(dim=0)
        assert torch.allclose(means.member[group, sample], expected, rtol=1e-15, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sums_are_those_of_float64_to_the_last_bit(dtype: torch.dtype) -> None:
    outputs, sums = steps(2, 5).to(dtype) / 3.0, MemberSums((2, *SHAPE), CPU)
    expected = torch.zeros(2, *SHAPE, dtype=torch.float64)
    for step in outputs:
        sums.add(step)
        expected = expected + step.double()
    assert torch.equal(sums.total, expected)


@pytest.mark.parametrize("piece", [1, 7, 48, 1000])
def test_outputs_that_wait_are_in_every_total(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("respeval.rollout.sums.PIECE", piece)
    outputs, sums = steps(2, 11) / 3.0, MemberSums((2, *SHAPE), CPU)
    expected = torch.zeros(2, *SHAPE, dtype=torch.float64)
    read_after = {0, 1, 2, 5, 9, 10}
    for number, step in enumerate(outputs):
        sums.add(step)
        expected = expected + step.double()
        if number in read_after:
            assert torch.equal(sums.total, expected)
    assert sums.num_steps == 11


def test_a_new_segment_forgets_the_outputs_that_wait() -> None:
    outputs, sums = steps(2, 3), MemberSums((2, *SHAPE), CPU)
    sums.add(outputs[0])
    sums.reset()
    assert (sums.num_steps, float(sums.total.abs().max())) == (0, 0.0)
    sums.add(outputs[0])
    sums.restore(outputs[1].double(), 4)
    sums.add(outputs[2])
    assert torch.equal(sums.total, outputs[1].double() + outputs[2].double())
    assert sums.num_steps == 5


def test_what_waits_is_bounded() -> None:
    assert most_waiting(8 * 40 * 45 * 90) == WAITING_STEPS
    assert most_waiting(2 * 40 * 180 * 360) == 1
    assert most_waiting(0) == WAITING_STEPS
    for numbers in (1, 10**6, 2**22, 3 * 10**6, 10**9):
        assert most_waiting(numbers) == 1 or 4 * numbers * most_waiting(numbers) <= WAITING_BYTES


def test_circle_means_take_only_the_surfaces_cells() -> None:
    outputs = steps(1, 1)
    means = accumulate(outputs, [Member(1, 0)]).means()
    field = outputs[0, 0].double()
    land, ocean = SURFACES.index("land"), SURFACES.index("ocean")
    got = means.zonal[0, 1]
    assert torch.allclose(got[0], field.mean(-1))
    assert torch.allclose(got[land, :, 0], field[:, 0, 1:3].mean(-1))
    assert torch.allclose(got[ocean, :, 0], field[:, 0, [0, 3]].mean(-1))
    assert (got[land, :, 1] == 0).all()  # no such cell: the caller says NaN
    assert (got[ocean, :, 2] == 0).all()


def test_a_nan_outside_the_mask_does_not_leak() -> None:
    field = torch.tensor([[1.0, float("nan"), 3.0]], dtype=torch.float64)
    assert circle_means(field, torch.tensor([[True, False, True]])).tolist() == [2.0]


def test_groups_and_parts_may_have_unequal_counts() -> None:
    first = accumulate(torch.full((2, 1, *SHAPE), 1.0), [Member(0, 0)])
    second = accumulate(torch.full((6, 1, *SHAPE), 5.0), [Member(1, 0)])
    means = (first + second).means()
    assert means.field_count.tolist() == [8.0, 0.0]
    assert (means.field[0] == (2 * 1.0 + 6 * 5.0) / 8).all()  # not (1 + 5) / 2
    assert means.field[1].isnan().all()
    assert means.zonal[0, 2].isnan().all()


def test_merging_processes_is_addition_of_one_packed_vector() -> None:
    members = [Member(s, g) for s in range(3) for g in range(2)]
    outputs = steps(6, 5)
    whole = accumulate(outputs, members)
    parts = [accumulate(outputs[:, a:b], members[a:b]) for a, b in ((0, 4), (4, 6), (6, 6))]
    packed = parts[0].pack() + parts[1].pack() + parts[2].pack()
    assert packed.dtype == torch.float64
    assert packed.is_contiguous()
    assert torch.allclose(parts[0].unpack(packed).pack(), whole.pack(), rtol=1e-14, atol=0)


def test_a_million_steps_keep_a_nanokelvin_where_float32_loses_a_millikelvin() -> None:
    num_steps, block = 1_000_000, 10_000
    generator = np.random.default_rng(0)
    sums = MemberSums((2, 1, 1, 2), CPU)
    single = torch.zeros(2, 1, 1, 2)
    exact = np.zeros((2, 1, 1, 2), dtype=np.longdouble)
    for _ in range(num_steps // block):
        noise = generator.normal(0.0, 1e-3, (block, 2, 1, 1, 2))
        fields = (288.0 + noise).astype(np.float32)
        fields[:, 1] += np.float32(0.25)
        exact += fields.astype(np.longdouble).sum(axis=0)
        for field in torch.from_numpy(fields).unbind():
            sums.add(field)
            single += field
    expected = (exact[1] - exact[0]) / num_steps
    mask = torch.ones(len(SURFACES), 1, 2, dtype=torch.bool)
    means = GroupSums.encode(sums, [Member(0, 0), Member(0, 1)], 2, 1, mask).means().field
    error = np.abs((means[1] - means[0]).numpy() - expected).max()
    naive = np.abs(((single[1] - single[0]) / num_steps).numpy() - expected).max()
    assert error < 1e-9
    assert naive > 1e-3


@pytest.mark.parametrize("num_processes", [1, 2, 3, 5, 9, 64])
@pytest.mark.parametrize("num_samples", [1, 3, 8])
def test_every_member_is_dealt_once_and_evenly(num_samples: int, num_processes: int) -> None:
    dealt = deal_members(num_samples, 3, num_processes)
    assert len(dealt) == num_processes
    together = [member for part in dealt for member in part]
    assert together == [Member(s, g) for s in range(num_samples) for g in range(3)]
    sizes = [len(part) for part in dealt]
    assert max(sizes) - min(sizes) <= 1
    assert all(a >= b for a, b in pairwise(sizes))


@pytest.mark.parametrize(
    ("num_samples", "num_groups", "num_processes", "expected"),
    [(5, 3, 4, [4, 4, 4, 3]), (3, 4, 2, [6, 6]), (3, 2, 2, [3, 3]), (1, 2, 4, [1, 1, 0, 0])],
)
def test_the_protocol_on_a_node_keeps_every_process_busy(
    num_samples: int, num_groups: int, num_processes: int, expected: list[int]
) -> None:
    dealt = deal_members(num_samples, num_groups, num_processes)
    assert [len(part) for part in dealt] == expected
    samples = [member.sample for part in dealt for member in part]
    assert samples == sorted(samples)
