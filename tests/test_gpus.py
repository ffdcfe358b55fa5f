"""The page of GPUs: its tables are what was kept, and what they reckon with is what networks have."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import gpus, spatial, split_loop
from benchmarks.frame import RESULTS, from_json
from benchmarks.model_size import WHOLE, Coefficients, Layout, Line, ModelSize
from benchmarks.split_memory import members, pretended, tensors_of, tensors_peak
from respeval.checkpoints import open_checkpoint
from respeval.distributed.mesh import Mesh
from respeval.emulator.noise import CounterNoise
from respeval.emulator.splitting import localize
from respeval.plan import spreading

#: Of a process that has loaded torch and what a command needs, bytes.
LIBRARIES = 0.45e9

SMALL = ModelSize((24, 48), 6, 3)

LAYOUTS = [Layout(2, 1), Layout(1, 2), Layout(2, 2), Layout(4, 3)]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return spatial.written(tmp_path_factory.mktemp("sizes") / "sfno.pt", SMALL)


def test_the_tables_of_the_page_are_what_was_kept() -> None:
    """`python -m benchmarks.gpus` writes them."""
    page = gpus.PAGE.read_text(encoding="utf-8")
    assert gpus.with_tables(page) == page


def test_the_page_says_how_far_off_its_numbers_are() -> None:
    page = gpus.PAGE.read_text(encoding="utf-8")
    outcome, _, _ = from_json((RESULTS / "spatial.json").read_text())
    [error] = [goal.measured for goal in outcome.goals if "memory of the model" in goal.what]
    assert f"off by at most {100 * error:.1f} %" in page
    probes = [entries[-1]["probe"] for entries in outcome.numbers["probes"].values()]
    ratios = [p[f"told_{what}"] / p[what] for p in probes for what in ("kept", "again")]
    assert f"{min(ratios):.1f} to {max(ratios):.1f} times" in page


def test_every_layout_of_the_tables_was_measured_and_a_page_without_a_place_is_told() -> None:
    assert set(gpus.coefficients()) == set(spatial.KEPT)
    with pytest.raises(AssertionError, match="no one place for runs"):
        gpus.with_tables("# a page\n")


@pytest.mark.parametrize("layout", [WHOLE, *LAYOUTS], ids=str)
def test_weights_and_tables_of_the_model_are_those_of_a_network(
    checkpoint: Path, layout: Layout
) -> None:
    found = tensors_of(checkpoint, layout.height, layout.width)
    assert (found.weights, found.tables) == (SMALL.weights(layout), SMALL.tables(layout))


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_what_is_sent_is_what_the_formula_says(
    checkpoint: Path, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted from the sizes that the first process gives away, its own part left out."""
    monkeypatch.setattr(torch.distributed, "get_rank", lambda group: 0)
    emulator: Any = open_checkpoint(checkpoint, {})
    mesh = Mesh(layout.height, layout.width)
    with pretended():
        localize(emulator, mesh)
        state, forcing = members(emulator, mesh, 1)
        with torch.inference_mode(), split_loop.counted() as sent:
            emulator.step(state, forcing, forcing, CounterNoise(0, [(0, 0)], 0, None))
    assert sum(sent) == sum(SMALL.sent(layout))
    calls = 2 * (layout.height > 1) + 4 * (layout.width > 1)
    assert len(sent) == SMALL.num_layers * calls


def test_an_all_reduce_counts_as_a_ring_sends_it_and_others_are_not_overlooked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda group: 4)
    with pretended(), split_loop.counted() as sent:
        torch.distributed.all_reduce(torch.zeros(100), group=None)
        with pytest.raises(AssertionError, match="not counted"):
            torch.distributed.broadcast(torch.zeros(1), 0)
    assert sent == [2 * 3 * 100]  # two rounds of three quarters of 400 bytes


def test_the_peak_is_of_tensors_that_live_at_once() -> None:
    def work() -> None:
        kept = torch.ones(1000)
        for _ in range(3):
            del_soon = kept + kept
            del del_soon

    tensors_peak(work)
    assert tensors_peak(work) == 8000


def test_a_line_goes_through_both_networks() -> None:
    line = Line.through((16, 9.0 * 16 + 39), (48, 9.0 * 48 + 39))
    assert (line.by_channel, line.fixed) == pytest.approx((9.0, 39.0))
    assert line.of(128) == pytest.approx(9.0 * 128 + 39)


def flat(numbers: float) -> Coefficients:
    """So many numbers per channel and cell of everything."""
    line = Line(numbers, 0.0)
    return Coefficients(line, line, line, line, line, line)


def test_a_run_of_more_members_takes_more_of_what_a_member_takes() -> None:
    model = ModelSize((10, 20), 4, 2, num_inputs=3, num_outputs=2)
    found = flat(9.0)
    assert model.activations(WHOLE, found) == 9 * 4 * 200 * 4
    assert model.fields(WHOLE) == 2 * 200 * 12
    assert model.filters(WHOLE) == 2 * 16 * 10 * 8
    assert model.tables(WHOLE) == 4 * 10**3 * 4
    within = 4 * 5 + 2 * (2 * 4 * 8 + 8)
    assert model.weights(WHOLE) == 2 * 16 * 10 * 8 + 4 * within
    one, three = (model.run(WHOLE, found, count) for count in (1, 3))
    assert three - one == 2 * (9 * 4 * 200 * 4 + 2 * 200 * 12)


def test_a_probe_keeps_each_block_or_its_input() -> None:
    model = ModelSize((10, 20), 4, 3)
    found = replace(flat(1.0), inside=Line(5.0, 0.0), first=Line(4.0, 0.0))
    unit = 4 * 4 * 200
    kept, again = (model.probe(WHOLE, found, way, 2, 1) for way in ("nothing", "blocks"))
    # Of two trajectories: what three blocks keep, or their inputs and what the largest keeps.
    assert kept - again == 2 * unit * ((4 + 5 + 5) - (3 + 5))


@pytest.mark.parametrize(
    ("needed_GiB", "expected"),
    [(30.0, WHOLE), (33.0, Layout(2, 1)), (65.0, Layout(2, 2)), (1000.0, None)],
)
def test_the_smallest_layout_is_of_as_many_latitudes_as_can_be(
    needed_GiB: float, expected: Layout | None
) -> None:
    """Where the third part in latitude gains nothing, four parts are 2x2."""
    found = dict.fromkeys([Layout(2, 2), Layout(4, 1), Layout(1, 2), Layout(2, 1), WHOLE], flat(1))

    def needed(layout: Layout) -> int:
        return round(needed_GiB * 2**30 / min(2, layout.height) / layout.width)

    assert gpus.smallest(needed, found, 40) == expected


def test_a_device_is_full_where_a_run_takes_it_to_be() -> None:
    assert gpus.SHARE == spreading._SHARE


def test_a_probe_of_full_size_took_what_the_formulas_say() -> None:
    """One pair, one member, two arms, one batch: no sums. The process has Python and libraries too."""
    kept = json.loads((RESULTS / "full_size.json").read_text())["numbers"]["memory"]["native"]
    model, found = gpus.MODELS["1°, 180 x 360"], gpus.coefficients()[WHOLE]
    expected = model.probe(WHOLE, found, "nothing", 1, 2) - 2 * model.filters(WHOLE)
    assert 0.9 < expected / (kept["probe, one pair, two arms"] - LIBRARIES) < 1.02


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
