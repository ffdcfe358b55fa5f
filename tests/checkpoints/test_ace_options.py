"""What the ACE reader says before fme is asked: its options, and that fme is missing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from respeval.checkpoints import open_checkpoint
from respeval.checkpoints.ace.options import AceOptions, parse_options
from respeval.cli import app
from respeval.errors import InputError

PATH = Path("ckpt.tar")


def test_options_are_read_from_texts_and_from_lists() -> None:
    given = parse_options(PATH, {"ema": "false", "labels": "era5, cm4", "derived": True})
    assert given == AceOptions(ema=False, labels=("era5", "cm4"), derived=("all",))
    assert parse_options(PATH, {"labels": ["era5"], "derived": ["total_water_path"]}) == AceOptions(
        labels=("era5",), derived=("total_water_path",)
    )
    assert parse_options(PATH, {}) == AceOptions(ema=True, labels=None, derived=(), grid=None)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"emma": True}, "no option emma (reader: ema, labels, derived, grid)"),
        ({"ema": 1}, "ema must be true or false, got 1"),
        ({"labels": 7}, "labels must be a list of names, got 7"),
        ({"derived": [3]}, r"derived must be a list of names, got \[3\]"),
        ({"grid": 3}, "grid must be the name of a netCDF file"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, object], expected: str) -> None:
    with pytest.raises(InputError, match=expected.replace("(", r"\(").replace(")", r"\)")):
        parse_options(PATH, options)


def test_without_fme_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fme", None)
    path = tmp_path / "ckpt.tar"
    path.write_bytes(b"")
    with pytest.raises(InputError, match="pip install 'respeval\\[ace\\]'"):
        open_checkpoint(path, {})
    result = CliRunner().invoke(app, ["inspect", str(path)])
    assert result.exit_code == 2
    assert len(result.stderr.strip().splitlines()) == 1
