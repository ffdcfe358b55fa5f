"""`protocol: aimip`: what it sets, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cftime
import pytest

from respeval.case.case import Case
from respeval.case.file import load_case
from respeval.case.protocol import check_samples
from respeval.errors import InputError
from respeval.plan.plan import prepare
from tests.support.invoking import refused

PATHS: dict[str, Any] = {"forcing": "f.nc", "initial_condition": "i.nc", "years": 46}


def case(**keys: Any) -> Case:
    return load_case(None, {**PATHS, "protocol": "aimip", **keys})


def dates(*days: tuple[int, ...]) -> list[cftime.datetime]:
    return [cftime.datetime(*day, calendar="standard") for day in days]


def test_it_sets_what_aimip_asks() -> None:
    found = case()
    assert found.groups == ("baseline", "p2K", "p4K")
    amplitudes = [entry.model_dump()["amplitude_K"] for entry in found.perturbations.values()]
    assert amplitudes == [2.0, 4.0]
    assert (found.initial_condition_scope, found.save_members) == ("none", True)
    assert (found.segment, found.spinup) == ("month", "3 months")


def test_without_it_nothing_changes() -> None:
    plain = load_case(None, PATHS)
    assert (plain.protocol, plain.save_members, plain.spinup) == (None, False, None)
    assert plain.groups == ("baseline", "p4K")


def test_keys_that_say_the_same_are_kept(tmp_path: Path) -> None:
    uniform = {"type": "uniform", "amplitude_K": 4}
    perturbations = {"warmer": uniform, "warm": {"type": "uniform", "amplitude_K": 2}}
    found = case(perturbations=perturbations, spinup="3 month", save_members=True)
    assert found.groups == ("baseline", "warmer", "warm")
    (tmp_path / "case.yaml").write_text(found.to_yaml())
    assert load_case(tmp_path / "case.yaml", {}) == found


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"spinup": "1 year"}, "sets spinup to 3 months, the case to 1 year; leave out spinup"),
        ({"save_members": False}, "sets save_members to True, the case to False"),
        ({"segment": "year"}, "sets segment to month, the case to year"),
        ({"initial_condition_scope": "ocean"}, "to none, the case to ocean"),
        (
            {"perturbations": {"p4K": {"type": "uniform", "amplitude_K": 4}}},
            "to uniform 2 K and uniform 4 K, the case to uniform 4 K",
        ),
        ({"protocol": "cmip"}, "protocol: Input should be 'aimip', got 'cmip'"),
    ],
)
def test_keys_that_contradict_are_refused(keys: dict[str, Any], expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        case(**keys)


@pytest.mark.parametrize(
    ("starts", "expected"),
    [
        ([(1978, 10, 1)] * 4, "asks for 5 samples, got 4"),
        ([(1978, 10, 1)] * 4 + [(1978, 10, 2)], "on 1978-10-01 00:00:00 and on 1978-10-02"),
        ([(1978, 10, 2)] * 5, "asks for whole months, but the samples start on 1978-10-02"),
        ([(1978, 10, 1, 6)] * 5, "the samples start on 1978-10-01 06:00:00"),
    ],
)
def test_other_samples_are_refused(starts: list[tuple[int, ...]], expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        check_samples("aimip", dates(*starts))
    check_samples(None, dates(*starts))


def test_five_samples_of_one_date_are_what_it_asks_for() -> None:
    check_samples("aimip", dates(*[(1978, 10, 1)] * 5))


def test_the_option_is_heeded(study: Path, tmp_path: Path) -> None:
    command = ["run", study, "-o", tmp_path / "out", "--protocol"]
    assert "protocol aimip asks for 5 samples, got 3" in refused(*command, "aimip")
    assert "protocol: Input should be 'aimip', got 'amip'" in refused(*command, "amip")
    assert not (tmp_path / "out").exists()


def test_a_run_is_refused_before_anything_is_read(study: Path) -> None:
    files = {"forcing": "forcing.nc", "initial_condition": "initial.nc"}
    paths = {key: str(study.parent / name) for key, name in files.items()}
    with pytest.raises(InputError, match="protocol aimip asks for 5 samples, got 3"):
        prepare(study, load_case(None, {**paths, "days": 75, "protocol": "aimip"}))
