"""Malformed settings: case files and the YAML of a training's loss."""

from __future__ import annotations

import os
from pathlib import Path

import yaml

from tests.support.broken import PROBE_LOSS, RUN, Broken, Change, pipe, replace_text, write


def keys(**changes: object) -> Change:
    """Change keys of the case file; None removes one."""

    def change(folder: Path) -> None:
        content = yaml.safe_load((folder / "case.yaml").read_text()) | changes
        kept = {key: value for key, value in content.items() if value is not None}
        (folder / "case.yaml").write_text(yaml.safe_dump(kept))

    return change


def lines(text: str) -> Change:
    """Add lines to the case file."""

    def change(folder: Path) -> None:
        with (folder / "case.yaml").open("a") as opened:
            opened.write(text)

    return change


def instead(key: str, text: str) -> Change:
    """One key's value as a text of YAML."""

    def change(folder: Path) -> None:
        keys(**{key: None})(folder)
        lines(f"{key}: {text}\n")(folder)

    return change


def encoded(encoding: str) -> Change:
    def change(folder: Path) -> None:
        text = (folder / "case.yaml").read_text()
        (folder / "case.yaml").write_bytes(text.encode(encoding))

    return change


def pipe_among_files(folder: Path) -> None:
    (folder / "many").mkdir()
    os.mkfifo(folder / "many" / "a.nc")
    keys(forcing="many")(folder)


def pipe_as_forcing(folder: Path) -> None:
    pipe("pipe.nc")(folder)
    keys(forcing="pipe.nc")(folder)


def link_to_zero(folder: Path) -> None:
    (folder / "case.yaml").unlink()
    (folder / "case.yaml").symlink_to("/dev/zero")


ALIASES = "reader: {a: &a [1,2,3,4,5,6,7,8,9]" + "".join(
    f", {new}: &{new} [{', '.join([f'*{old}'] * 9)}]"
    for old, new in zip("abcdefghijk", "bcdefghijkl", strict=True)
)
CODE = "!!python/object/apply:os.mkdir ['../elsewhere/code_was_run']"
WITH_CASE = ("run", "tiny.pt", "--case", "case.yaml", "-o", "out")
UNIFORM = {"type": "uniform", "amplitude_K": 4.0}
CASES = [
    Broken("case: empty", RUN, write("case.yaml", ""), "expected lines of 'key: value'"),
    Broken("case: a list", RUN, write("case.yaml", "- 1\n- 2\n"), "expected lines of 'key: value'"),
    Broken("case: no YAML", RUN, write("case.yaml", "a: [1"), "is no YAML in line 1"),
    Broken("case: a tab", RUN, lines("roles:\n\tupper_level: a\n"), "cannot start any token"),
    Broken("case: bytes", RUN, write("case.yaml", bytes(range(256))), "is no UTF-8 text"),
    Broken("case: UTF-16", RUN, encoded("utf-16"), "is no UTF-8 text; save it as UTF-8"),
    Broken("case: control characters", RUN, lines("seed: \x00\n"), "special characters"),
    Broken("case: two documents", RUN, lines("---\nseed: 1\n"), "but found another document"),
    Broken("case: a folder", (*RUN, "--case", "."), lambda f: None, "it is a folder"),
    Broken("case: a pipe", WITH_CASE, pipe("case.yaml"), "it is a pipe or a device"),
    Broken("case: /dev/zero", WITH_CASE, link_to_zero, "it is a pipe or a device"),
    Broken("case: 3 MB", RUN, lines("#" * 3 * 10**6), "it has 3 MB, expected at most 1 MB"),
    Broken(
        "case: an alias bomb", RUN, lines(ALIASES + "}\n"), "aliases stand for more than 100,000"
    ),
    Broken("case: a value within itself", RUN, lines("reader: &a {b: *a}\n"), "within itself"),
    Broken("case: nested 60 deep", RUN, lines("reader: " + "{a: " * 60 + "}" * 60), "40 deep"),
    Broken("case: nested without end", RUN, lines("reader: " + "[" * 10**5), "nested too deeply"),
    Broken("case: an object of Python", RUN, lines(f"seed: {CODE}\n"), "could not determine a"),
    Broken("case: code as a key", RUN, lines(f"? {CODE}\n: 1\n"), "could not determine a"),
    Broken("case: a list as a key", RUN, lines("? [a, b]\n: 1\n"), "found unhashable key"),
    Broken("case: a key twice", RUN, lines("days: 6\n"), "'days' is given twice"),
    Broken("case: a date that is none", RUN, lines("seed: !!timestamp soon\n"), "a value can't be"),
    Broken(
        "case: a number that is none", RUN, lines("seed: !!int soon\n"), "a value can't be read"
    ),
    Broken("case: a seed of 5000 digits", RUN, lines(f"seed: {'9' * 5000}\n"), "a value can't be"),
    Broken("case: an unknown key", RUN, keys(amplitude=4), "unknown key 'amplitude'"),
    Broken("case: a misspelt key", RUN, keys(year=4), "did you mean 'years'?"),
    Broken("case: a number as a key", RUN, lines("7: 8\n"), "expected lines of 'key: value'"),
    Broken("case: no forcing", RUN, keys(forcing=None), "forcing is missing; give --forcing"),
    Broken("case: days as a list", RUN, keys(days=[6]), "days: Input should be a valid integer"),
    Broken("case: no days", RUN, keys(days=None), "set one of years, days or steps"),
    Broken("case: days and years", RUN, keys(years=1), "given twice (years and days); keep one"),
    Broken("case: infinite years", RUN, instead("days", ".inf"), "days: Input should be a finite"),
    Broken("case: negative days", RUN, keys(days=-6), "greater than or equal to 1, got -6"),
    Broken(
        "case: 10^18 steps", RUN, keys(days=None, steps=10**18), "less than or equal to 100000000"
    ),
    Broken(
        "case: 10^8 steps of a year that repeats",
        RUN,
        keys(days=None, steps=10**8, repeat="year"),
        "at most 33,554,432 steps can be planned; shorten the run",
    ),
    Broken(
        "case: 10^9 realizations",
        RUN,
        keys(num_realizations=10**9),
        "num_realizations: Input should be less than or equal to 100000",
    ),
    Broken(
        "case: a spin-up of 10^30 years",
        RUN,
        keys(spinup=f"{10**30} years"),
        "is longer than any calendar reaches",
    ),
    Broken("case: a segment of 0 steps", RUN, keys(segment="0 steps"), "is no segment (expected"),
    Broken(
        "case: NaN kelvin",
        RUN,
        keys(perturbations={"p": {"type": "uniform", "amplitude_K": float("nan")}}),
        "amplitude_K: Input should be a finite number",
    ),
    Broken(
        "case: 10^400 kelvin",
        RUN,
        instead("perturbations", "{p: {type: uniform, amplitude_K: 1" + "0" * 400 + "}}"),
        "amplitude_K",
    ),
    Broken("case: no perturbation", RUN, keys(perturbations={}), "at least 1 item"),
    Broken(
        "case: an unknown perturbation",
        RUN,
        keys(perturbations={"p": {"type": "hot"}}),
        "perturbations.p: Input tag 'hot'",
    ),
    Broken(
        "case: a perturbation that is a text",
        RUN,
        keys(perturbations={"p": "hot"}),
        "perturbations.p",
    ),
    Broken(
        "case: a label that climbs",
        RUN,
        keys(perturbations={"../../elsewhere/x": UNIFORM}),
        "'../../elsewhere/x' can't name a perturbation",
    ),
    Broken(
        "case: a label of 10,000 letters",
        RUN,
        keys(perturbations={"x" * 10_000: UNIFORM}),
        "can't name a perturbation: expected letters",
    ),
    Broken(
        "case: a label of control characters",
        RUN,
        keys(perturbations={"\x1b[2J": UNIFORM}),
        "can't name a perturbation",
    ),
    Broken("case: a band that climbs", RUN, keys(bands={"../x": [0, 9]}), "can't name a band"),
    Broken("case: a band of NaN", RUN, instead("bands", "{t: [0, .nan]}"), "bands.t.1: Input"),
    Broken("case: a band upside down", RUN, keys(bands={"t": [9, 0]}), "expected 0 <= low < high"),
    Broken(
        "case: a role that is a mapping",
        RUN,
        keys(roles={"upper_level": {"a": 1}}),
        "roles.upper_level: Input should be a valid string",
    ),
    Broken("case: NUL in a path", RUN, instead("forcing", '"a\\0b.nc"'), "holds a NUL"),
    Broken(
        "case: half a character", RUN, instead("forcing", '"\\uD800.nc"'), "ud800.nc: no such file"
    ),
    Broken("case: a forcing that is no file", RUN, keys(forcing="nothing/*.nc"), "no such file"),
    Broken(
        "case: /dev/zero as forcing", RUN, keys(forcing="/dev/zero"), "it is a pipe or a device"
    ),
    Broken(
        "case: a pipe as forcing",
        RUN,
        pipe_as_forcing,
        "pipe.nc can't be read (it is a pipe or a device)",
    ),
    Broken("case: a pipe among the forcing", RUN, pipe_among_files, "it is a pipe or a device"),
    Broken(
        "case: a folder without files", RUN, keys(forcing="/proc/self/fdinfo"), "holds no netCDF"
    ),
    Broken(
        "case: a pattern from /dev/zero",
        RUN,
        keys(perturbations={"p": {"type": "pattern", "file": "/dev/zero", "variable": "x"}}),
        "/dev/zero can't be read (it is a pipe or a device)",
    ),
    Broken("loss: no YAML", PROBE_LOSS, write("loss.yaml", "{"), "loss.yaml is no YAML in line"),
    Broken("loss: bytes", PROBE_LOSS, write("loss.yaml", b"\xff\xfe\x00"), "is no UTF-8 text"),
    Broken(
        "loss: an alias bomb", PROBE_LOSS, write("loss.yaml", ALIASES + "}"), "aliases stand for"
    ),
    Broken("loss: an object of Python", PROBE_LOSS, write("loss.yaml", f"a: {CODE}"), "could not"),
    Broken(
        "loss: a loss that is a list",
        PROBE_LOSS,
        write("loss.yaml", "type: [EnsembleLoss]\n"),
        "which respeval can't score",
    ),
    Broken(
        "loss: NaN weights",
        PROBE_LOSS,
        replace_text("loss.yaml", "0.9", ".nan"),
        "kwargs.crps_weight: Input should be a finite number",
    ),
    Broken(
        "loss: 10^9 members",
        PROBE_LOSS,
        write(
            "loss.yaml",
            "stepper_training: {loss: {type: EnsembleLoss, kwargs: {}}, n_ensemble: 1000000000}",
        ),
        "expected at most 1000 members",
    ),
    Broken(
        "loss: 10^9 levels of differences",
        PROBE_LOSS,
        write(
            "loss.yaml", "{type: EnsembleLoss, kwargs: {finite_difference_crps_levels: 1000000000}}"
        ),
        "8 latitudes allow at most 3",
    ),
]
