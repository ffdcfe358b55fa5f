"""The notebook in examples/ runs, and ends with the picture of three maps."""

from __future__ import annotations

import json
from pathlib import Path

import nbclient
import nbformat
import pytest

from tests.support import ROOT

NOTEBOOK = ROOT / "examples" / "tutorial.ipynb"


def test_the_tutorial_runs_and_ends_with_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
        "TMPDIR": str(tmp_path),
    }.items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(NOTEBOOK, 4)
    client = nbclient.NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    )
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    texts = "".join(output.get("text", "") for output in outputs)
    assert "land/ocean ratio" in texts
    assert any("<progress" in output.get("data", {}).get("text/html", "") for output in outputs)
    assert "image/png" in outputs[-1]["data"]
    assert not [output for output in outputs if output.output_type == "error"]


def test_the_tutorial_is_kept_without_outputs() -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert [c for c in cells if c.get("outputs") or c.get("execution_count")] == []
