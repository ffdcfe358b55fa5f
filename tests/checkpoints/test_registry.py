"""Readers are chosen by a file's name or by format, and packages bring their own."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch

from respeval.checkpoints import checkpoint_digest, open_checkpoint, registry
from respeval.checkpoints.native import NativeEmulator, load_checkpoint
from respeval.errors import InputError
from tests.support import ROOT, studies
from tests.support.invoking import invoke, refused
from tests.support.packages import package_of_page, respeval
from tests.support.packages import write_package as write_any_package
from tests.support.studies import write_study
from tests.support.training import training


def write_package(site: Path, name: str, source: str, **entries: str) -> None:
    write_any_package(site, name, source, "respeval.checkpoints", **entries)


READER = """
from respeval.checkpoints import Reader
from respeval.checkpoints.native import load_checkpoint

def read(path, options, trust):
    emulator = load_checkpoint(path)
    emulator.seen = (dict(options), trust)
    return emulator

reader = Reader({endings!r}, read, "a test's")
"""


def test_a_package_brings_a_reader_by_its_entry_point(site: Path, tmp_path: Path) -> None:
    write_package(
        site, "their_models", READER.format(endings=(".theirs",)), theirs="their_models:reader"
    )
    path = studies.checkpoint(tmp_path / "model.theirs")
    emulator: Any = open_checkpoint(path, {"ema": True}, trust=True)
    assert isinstance(emulator, NativeEmulator)
    assert emulator.seen == ({"ema": True}, True)
    again: Any = open_checkpoint(path, {})
    assert again.seen == ({}, False)


def test_the_format_can_be_named_and_is_no_option_of_the_reader(site: Path, tmp_path: Path) -> None:
    write_package(site, "their_pt", READER.format(endings=(".pt",)), theirs="their_pt:reader")
    path = studies.checkpoint(tmp_path / "model.pt")
    with pytest.raises(
        InputError, match=r"fits the formats native and theirs: say which with --reader"
    ):
        open_checkpoint(path, {})
    assert not hasattr(open_checkpoint(path, {"format": "native"}), "seen")
    theirs: Any = open_checkpoint(path, {"format": "theirs", "labels": ["a"]})
    assert theirs.seen == ({"labels": ["a"]}, False)
    odd = studies.checkpoint(tmp_path / "model.weights")
    assert isinstance(open_checkpoint(odd, {"format": "native"}), NativeEmulator)


def test_the_longest_ending_wins_whatever_the_case(site: Path, tmp_path: Path) -> None:
    write_package(site, "plain_grb", READER.format(endings=(".grb",)), plain="plain_grb:reader")
    long = READER.format(endings=("weights.grb", ".other"))
    write_package(site, "long_grb", long, long="long_grb:reader")
    for name, expected in (("a.grb", "plain"), ("weights.grb", "long"), ("W_WEIGHTS.GRB", "long")):
        path = tmp_path / name
        path.touch()
        assert registry.choose_reader(path)[0] == expected


def test_only_the_named_format_is_imported(site: Path, tmp_path: Path) -> None:
    write_package(
        site, "broken_one", "raise RuntimeError('no CUDA here')", broken="broken_one:reader"
    )
    path = studies.checkpoint(tmp_path / "model.pt")
    open_checkpoint(path, {"format": "native"})
    assert "broken_one" not in sys.modules


def test_a_broken_package_is_told_where_it_is_needed_alone(site: Path, tmp_path: Path) -> None:
    write_package(
        site, "broken_two", "raise RuntimeError('no CUDA here')", broken="broken_two:reader"
    )
    assert isinstance(
        open_checkpoint(studies.checkpoint(tmp_path / "model.pt"), {}), NativeEmulator
    )
    path = tmp_path / "model.theirs"
    path.touch()
    told = (
        "the 'broken' reader of the package broken_two can't be loaded .RuntimeError: no CUDA here"
    )
    for options in ({}, {"format": "broken"}):
        with pytest.raises(InputError, match=told) as refused:
            open_checkpoint(path, options)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("reader = print", "broken_three:reader is builtin_function_or_method, expected a"),
        ("", "AttributeError"),
        (
            "from respeval.checkpoints import Reader\nreader = Reader((), print, '')",
            "endings of file names",
        ),
        (
            "from respeval.checkpoints import Reader\nreader = Reader(('.PT',), print, '')",
            "lower case",
        ),
        ("import nothing_of_this_name", "ModuleNotFoundError"),
    ],
)
def test_what_is_no_reader_is_refused(
    site: Path, tmp_path: Path, source: str, message: str
) -> None:
    write_package(site, "broken_three", source, broken="broken_three:reader")
    path = tmp_path / "model.theirs"
    path.touch()
    with pytest.raises(InputError, match=re.escape(message) if ":" in message else message):
        open_checkpoint(path, {"format": "broken"})


def test_names_of_formats_are_taken_once(site: Path, tmp_path: Path) -> None:
    path = studies.checkpoint(tmp_path / "model.pt")
    write_package(
        site, "first_of_two", READER.format(endings=(".a",)), theirs="first_of_two:reader"
    )
    open_checkpoint(path, {})
    write_package(
        site, "second_of_two", READER.format(endings=(".b",)), theirs="second_of_two:reader"
    )
    with pytest.raises(
        InputError, match=r"reader named 'theirs', which is that of the package \w+ too"
    ):
        open_checkpoint(path, {})


def test_respevals_own_names_are_not_to_be_taken(site: Path, tmp_path: Path) -> None:
    write_package(site, "impostor", READER.format(endings=(".a",)), native="impostor:reader")
    path = studies.checkpoint(tmp_path / "model.pt")
    with pytest.raises(InputError, match=r"the package impostor brings .* which is respeval's own"):
        open_checkpoint(path, {})
    assert "impostor" not in sys.modules


def test_unknown_formats_are_listed(tmp_path: Path) -> None:
    path = studies.checkpoint(tmp_path / "model.pt")
    with pytest.raises(
        InputError, match=r"no reader of format 'nope' \(formats: native, torch-export"
    ):
        open_checkpoint(path, {"format": "nope"})
    odd = path.rename(tmp_path / "model.onnx")
    with pytest.raises(
        InputError, match=r"no reader for \.onnx files \(formats: native \(\.pt: respeval's"
    ):
        open_checkpoint(odd, {})


def test_a_reader_that_gives_no_emulator_is_told(site: Path, tmp_path: Path) -> None:
    source = (
        "from respeval.checkpoints import Reader\n"
        "reader = Reader(('.theirs',), lambda path, options, trust: {}, '')"
    )
    write_package(site, "gives_dict", source, theirs="gives_dict:reader")
    path = tmp_path / "model.theirs"
    path.touch()
    with pytest.raises(
        InputError, match=r"the 'theirs' reader gave dict, which is no emulator: it has no spec"
    ):
        open_checkpoint(path, {})


def test_the_digest_is_that_of_all_files_of_a_checkpoint(tmp_path: Path) -> None:
    path = studies.checkpoint(tmp_path / "model.pt")
    emulator: Any = load_checkpoint(path)
    alone = checkpoint_digest(path, emulator)
    beside = tmp_path / "model.json"
    beside.write_text("{}")
    emulator.companions = (beside,)
    both = tmp_path / "both"
    both.write_bytes(path.read_bytes() + b"{}")
    assert checkpoint_digest(path, emulator) == checkpoint_digest(both, object()) != alone  # type: ignore[arg-type]


def test_the_example_package_of_the_docs_works(tmp_path: Path) -> None:
    files = package_of_page(ROOT / "docs" / "readers.md")
    assert sum(bool(line.strip()) for text in files.values() for line in text.splitlines()) <= 24
    project = tomllib.loads(files.pop("pyproject.toml"))["project"]
    ((module, source),) = files.items()
    entries = project["entry-points"]["respeval.checkpoints"]
    write_package(tmp_path / "site", module.removesuffix(".py"), source, **entries)
    manifest = studies.export_manifest(architecture="a convolution")
    path = tmp_path / "model.conv"
    network = torch.nn.Conv2d(manifest.num_network_inputs(), manifest.num_network_outputs(), 3)
    torch.save(network.state_dict(), path)
    path.with_suffix(".json").write_text(manifest.model_dump_json(exclude_unset=True))
    shown = respeval(tmp_path / "site", "inspect", path)
    assert shown.returncode == 0, shown.stderr
    assert "a convolution" in shown.stdout
    assert "ocean_fraction" in shown.stdout


def test_help_loads_no_entry_point(tmp_path: Path) -> None:
    write_package(tmp_path / "site", "loud", "raise SystemExit('loaded')", loud="loud:reader")
    for command in ("run", "inspect", "gradient-probe"):
        shown = respeval(tmp_path / "site", command, "--help")
        assert shown.returncode == 0, shown.stderr
        assert "--trust-checkpoint" in shown.stdout


def test_a_case_file_can_name_the_format_but_not_trust(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", days=3, reader={"format": "theirs", "depth": 2})
    write_package(
        tmp_path / "site",
        "their_case",
        READER.format(endings=(".theirs",)),
        theirs="their_case:reader",
    )
    done = respeval(tmp_path / "site", "run", study, "-o", tmp_path / "out", "--segment", "all")
    assert done.returncode == 0, done.stderr
    case = study.parent / "case.yaml"
    case.write_text(case.read_text() + "trust_checkpoint: true\n")
    refused = respeval(tmp_path / "site", "run", study, "-o", tmp_path / "other")
    assert refused.returncode == 2
    assert "trust_checkpoint" in refused.stderr


def test_every_command_takes_the_readers_options(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study", days=2)
    path = study.rename(study.with_name("tiny.weights"))
    training().to_netcdf(tmp_path / "training.nc")
    short = ("--batches", 2, "--batch-size", 2, "--data", tmp_path / "training.nc")
    for command in (
        ("inspect", path),
        ("run", path, "-o", tmp_path / "run"),
        ("gradient-probe", path, *short, "-o", tmp_path / "probe"),
    ):
        assert "no reader for .weights files" in refused(*command)
        invoke(*command, "--reader", "format=native")
        assert "no options (got reader: ema)" in refused(
            *command, "--reader", "format=native", "--reader", "ema=true"
        )
