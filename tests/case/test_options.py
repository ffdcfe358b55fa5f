"""Every option is stated once: the table of keys, the model of the case, the commands and the help."""

from __future__ import annotations

from dataclasses import fields

import pytest
import typer.main

from respeval.case.case import Case, RoleNames
from respeval.case.options import KEY, KEYS, keys_that_bear_on, read_options
from respeval.cli import app
from respeval.diagnostics import NAMED_IN_ROLES
from respeval.errors import InputError
from respeval.fields.perturbation import PERTURBATIONS
from respeval.fields.variables import FORCING_ROLES, Roles
from respeval.loss_probe.loss import LossWeights
from respeval.loss_probe.options import ARMS, LOSS, LOSS_CONFIG, RECOMPUTE, SETTINGS
from respeval.loss_probe.plan import ProbeSettings

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def parameters_of(command: str) -> dict[str, list[str]]:
    """Parameter -> its flags, as the command line has them."""
    return {parameter.name: list(parameter.opts) for parameter in COMMANDS[command].params}


def test_the_table_of_keys_is_the_model_of_the_case() -> None:
    assert {key.key for key in KEYS} == set(Case.model_fields)
    assert len(KEY) == len(KEYS)


def test_every_key_is_an_option_of_run_under_the_flag_of_its_messages() -> None:
    found = parameters_of("run")
    for key in KEYS:
        assert key.flag in found[key.name]


def test_every_option_of_a_probe_sets_a_field() -> None:
    found = parameters_of("gradient-probe")
    for option in (ARMS, LOSS_CONFIG, *SETTINGS, *LOSS, RECOMPUTE):
        assert option.flag in found[option.name]
    settings = {option.key for option in (ARMS, LOSS_CONFIG, *SETTINGS, RECOMPUTE)}
    assert settings == {field.name for field in fields(ProbeSettings)} - {"weights"}
    defaults = {field.name: field.default for field in fields(ProbeSettings)}
    for option in (*SETTINGS, RECOMPUTE):
        assert option.default == defaults[option.key]


def test_the_help_of_the_loss_tells_its_defaults() -> None:
    weights = LossWeights()
    for option in LOSS:
        told = float(option.help.rpartition("default ")[2].rstrip("."))
        assert told == getattr(weights, option.key)


def test_roles_of_the_case_are_those_of_emulators_forcing_and_diagnostics() -> None:
    roles = [field.name for field in fields(Roles)]
    assert list(RoleNames.model_fields) == [*roles, *FORCING_ROLES, *NAMED_IN_ROLES]


def test_the_help_of_run_says_how_every_perturbation_is_written() -> None:
    command = COMMANDS["run"]
    told = command.get_help(command.context_class(command))
    for kind in PERTURBATIONS.values():
        assert f"LABEL={kind.usage}" in told
    assert "{" not in told


def test_what_keys_bear_on() -> None:
    assert keys_that_bear_on("length") == ("years", "days", "steps")
    assert keys_that_bear_on("afterwards") == ("allow_out_of_range", "until", "reference")
    assert set(keys_that_bear_on("definitions")) == {
        "area_weights",
        "ocean_fraction_cutoff",
        "land_boxes",
        "sst_boxes",
    }


def test_what_is_not_given_sets_nothing_and_false_is_given() -> None:
    given = {"perturb": None, "start": [], "paired_noise": False, "seed": 0, "steps": None}
    assert read_options(KEYS, given) == {"paired_noise": False, "seed": 0}


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"perturb": ["a=uniform:1", "a=uniform:2"]}, "--perturb gives 'a' twice"),
        ({"role": ["upper_level"]}, "--role 'upper_level': expected NAME=VALUE"),
        ({"reader": ["a={"]}, "--reader a={: the value is no YAML"),
        ({"reference": ["a.nc", "b.nc"]}, "--reference 'a.nc' is of every perturbation"),
    ],
)
def test_a_mistake_names_the_option(values: dict[str, object], told: str) -> None:
    with pytest.raises(InputError) as caught:
        read_options(KEYS, values)
    assert str(caught.value).startswith(told)
