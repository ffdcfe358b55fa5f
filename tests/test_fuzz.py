"""Any change of any file ends in a result or in an InputError: bytes turned over, cut off, put in.

A few examples of each kind here; `make fuzz` (RESPEVAL_FUZZ=N) draws many.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import xarray as xr
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from respeval.analysis.folder import settings_of_folder, told_quarantined
from respeval.case.file import load_case
from respeval.case.options import KEYS, CaseKey
from respeval.checkpoints import open_checkpoint
from respeval.cli import app
from respeval.errors import InputError
from respeval.fields.records import open_record, read_whole
from respeval.files.netcdf import open_saved
from respeval.loss_probe.training_loss import load_loss_config
from respeval.run_folder.manifest import verify_folder
from respeval.run_folder.restart import Restart
from tests.support import studies

few = settings(
    max_examples=int(os.environ.get("RESPEVAL_FUZZ", "6")),
    derandomize="RESPEVAL_FUZZ" not in os.environ,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)

#: A place as a share of the file, how many bytes are replaced there, and by what.
changes = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True),
        st.sampled_from([0, 1, 1, 2, 8, 64, 4096]),
        st.binary(max_size=9),
    ),
    min_size=1,
    max_size=4,
)

#: What JSON and YAML values are replaced by.
values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["../x", "/dev/zero", "a\0b", "restart/x.bin", -1, 0, 1, 10**9, "1e999"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
mutations = st.lists(
    st.tuples(st.integers(0, 10**6), st.sampled_from("=-+"), values), min_size=1, max_size=3
)


def with_changes(content: bytes, drawn: list[tuple[float, int, bytes]]) -> bytes:
    for share, number, new in drawn:
        at = int(share * len(content))
        content = content[:at] + new + content[at + number :]
    return content


def places(content: Any) -> list[tuple[Any, Any]]:
    """Every container with every key or index in it."""
    found = []
    inner = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in inner:
        found.append((content, key))
        if isinstance(value, dict | list):
            found += places(value)
    return found


def with_mutations(content: Any, drawn: list[tuple[int, str, Any]]) -> Any:
    content = json.loads(json.dumps(content))
    for number, kind, value in drawn:
        choice = places(content)
        if not choice:
            break
        container, key = choice[number % len(choice)]
        if kind == "=":
            container[key] = value
        elif kind == "-":
            del container[key]
        elif isinstance(container, dict):
            container[f"{key}x"] = value
        else:
            container.append(value)
    return content


def tolerates(read: Callable[[Path], object], path: Path) -> None:
    """Reading ends in a result or in InputError, and InputError says where."""
    try:
        read(path)
    except InputError:
        return  # any other error ends the test


def read_record(path: Path) -> None:
    with open_record(str(path)) as record:
        read_whole(str(path), record)


def read_saved(path: Path) -> None:
    with open_saved(path) as opened:
        read_whole(str(path), opened)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz")
    studies.write_study(folder)
    studies.forcing(num_times=5).to_netcdf(folder / "forcing.nc")
    studies.forcing(num_times=5).to_netcdf(folder / "classic.nc", format="NETCDF3_64BIT")
    studies.export_native(folder / "tiny.pt", folder / "tiny.pt2")
    (folder / "loss.yaml").write_text(
        "type: EnsembleLoss\nkwargs: {crps_weight: 0.9, energy_score_weight: 0.1}\nweights: {a: 1}\n"
    )
    (folder / "run").mkdir()
    return folder


READERS: dict[str, Callable[[Path], object]] = {
    "tiny.pt": lambda path: open_checkpoint(path, {}),
    "tiny.pt2": lambda path: open_checkpoint(path, {}),
    "forcing.nc": read_record,
    "classic.nc": read_saved,
    "case.yaml": lambda path: load_case(path, {}),
    "loss.yaml": load_loss_config,
}


@pytest.mark.parametrize("name", READERS)
@few
@given(drawn=changes)
def test_changed_bytes(files: Path, name: str, drawn: list[tuple[float, int, bytes]]) -> None:
    path = files / f"changed-{name}"
    shutil.copy(files / "tiny.json", path.with_suffix(".json"))
    path.write_bytes(with_changes((files / name).read_bytes(), drawn))
    tolerates(READERS[name], path)


@pytest.mark.parametrize("name", ["case.yaml", "loss.yaml"])
@few
@given(drawn=mutations)
def test_changed_settings(files: Path, name: str, drawn: list[tuple[int, str, Any]]) -> None:
    path = files / f"mutated-{name}"
    content = with_mutations(yaml.safe_load((files / name).read_text()), drawn)
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    tolerates(READERS[name], path)


@few
@given(drawn=mutations)
def test_changed_manifest_of_a_program(files: Path, drawn: list[tuple[int, str, Any]]) -> None:
    path = files / "mutated.pt2"
    shutil.copy(files / "tiny.pt2", path)
    content = with_mutations(json.loads((files / "tiny.json").read_text()), drawn)
    path.with_suffix(".json").write_text(json.dumps(content))
    tolerates(READERS["tiny.pt2"], path)


MANIFEST: dict[str, Any] = {
    "case": {"seed": 0, "perturbations": {"p4K": {"type": "uniform", "amplitude_K": 4.0}}},
    "status": "finished",
    "roles": {"near_surface_temperature": "a", "column_temperature": ["a", "b"]},
    "levels_hPa": [500.0, 1000.0],
    "quarantined": [
        {"sample": 0, "group": "a", "variable": "b", "step": 3, "date": "d", "limits": "l"}
    ],
    "segments": [
        {
            "file": "segments/00001_2001-01-01.nc",
            "sha256": "0",
            "first_step": 0,
            "stop_step": 2,
            "spinup": False,
        }
    ],
    "restart": {
        "step": 2,
        "record": {"state": {"dtype": "float32", "shape": [3, 8, 16]}},
        "parts": [{"file": "restart/000000002_00000.bin", "first": 0, "stop": 6, "sha256": "0"}],
    },
    "results": {"group_means.nc": "0", "zonal.nc": "0"},
}


@few
@given(drawn=mutations)
def test_changed_manifest_of_a_run(files: Path, drawn: list[tuple[int, str, Any]]) -> None:
    content, folder = with_mutations(MANIFEST, drawn), files / "run"
    (folder / "manifest.json").write_text(json.dumps(content))
    shutil.copy(files / "case.yaml", folder / "case.yaml")
    tolerates(verify_folder, folder)
    tolerates(lambda path: settings_of_folder(path, {}), folder)
    tolerates(told_quarantined, folder)
    if isinstance(content, dict) and "restart" in content:
        shapes = {"state": (3, 8, 16)}
        tolerates(
            lambda path: Restart.from_json(content["restart"], "it").read(path, 0, 6, shapes),
            folder,
        )


def test_what_is_fuzzed_is_good_before(files: Path) -> None:
    for name, read in READERS.items():
        read(files / name)
    with xr.open_dataset(files / "classic.nc", decode_times=False) as classic:
        assert "skin" in classic
    Restart.from_json(MANIFEST["restart"], "it")
    (files / "run" / "manifest.json").write_text(json.dumps(MANIFEST))
    shutil.copy(files / "case.yaml", files / "run" / "case.yaml")
    assert settings_of_folder(files / "run", {}).levels_hPa == (500.0, 1000.0)


#: What someone, or a script, may write after any option by mistake.
ODD = [
    "",
    "  ",
    "0",
    "-1",
    "1.5",
    "nan",
    "inf",
    "1e400",
    "9" * 20,
    "none",
    "None",
    "null",
    "yes",
    "[]",
]
ODD += [
    "{}",
    "=",
    "==",
    ":",
    "a=",
    "=b",
    "a=b",
    "a=b=c",
    "a:b",
    "a/b",
    "../x",
    "/dev/null",
    ".",
    "~",
]
ODD += [
    "~nobody/x",
    "x" * 5000,
    "a\0b",
    "\n",
    "ü",
    "%",
    "**",
    "[",
    "cuda:99",
    "meta",
    "p=uniform:nan",
]
ODD += [
    "p=uniform:1e300",
    "p=patch:1",
    "a=0:nan",
    "a=1,2,3,nan",
    "2020-13-45",
    "99999-01-01",
    "0 days",
]
ODD += ["1e9 years", "nan days", "s3://bucket/x", "nowhere://x"]


@few
@given(option=st.sampled_from(KEYS), value=st.sampled_from(ODD))
def test_any_value_of_any_option_is_taken_or_one_line(
    study: Path, tmp_path_factory: pytest.TempPathFactory, option: CaseKey, value: str
) -> None:
    flag = option.flag if option.type != bool | None else f"{option.flag}={value}"
    given_value = [] if "=" in flag else [value]
    out = tmp_path_factory.mktemp("odd") / "out"
    result = CliRunner().invoke(
        app,
        ["run", str(study), "-o", str(out), "--days", "2", "--segment", "all", flag, *given_value],
    )
    assert result.exit_code in (0, 2, 3), result.output
    assert isinstance(result.exception, SystemExit | None), result.exception
    told = [line for line in result.stderr.splitlines() if line.startswith("respeval: ")]
    # What typer refuses by itself comes below its usage here, in one line from the command.
    assert result.exit_code == 0 or len(told) == 1 or "\nError: " in result.stderr
