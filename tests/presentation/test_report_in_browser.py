"""The report in a browser: no wider than a phone, labels that stick, figures that enlarge, few pages.

Skipped where there is no Chromium.
"""

from __future__ import annotations

import html
import io
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from respeval.presentation.report.contents import Contents
from respeval.presentation.report.page import render
from respeval.presentation.report.parts import Cell, Figure, Headline, Section, Table

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")

#: Seconds that a browser has.
LIMIT_S = 120

#: Without any word to the network.
QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)

#: Measures a page in a frame: its width, where labels are when tables are scrolled, an enlarged figure.
MEASURE = """
onload = () => {
  const page = document.querySelector("iframe").contentDocument;
  const found = { width: page.documentElement.scrollWidth, labels: [], scrolled: 0 };
  for (const box of page.querySelectorAll("main > section > .scroll")) {
    box.scrollLeft = 150;
    found.scrolled += box.scrollLeft;
    const left = box.getBoundingClientRect().left;
    for (const label of box.querySelectorAll(".label")) {
      found.labels.push(label.getBoundingClientRect().left - left);
    }
  }
  found.paper = page.defaultView.getComputedStyle(page.body).backgroundColor;
  const picture = page.querySelector("#figure-0 img");
  found.small = picture.getBoundingClientRect().width;
  page.defaultView.location.hash = "#figure-0";
  found.large = picture.getBoundingClientRect().width;
  found.back = page.querySelector("#figure-0 .close").getAttribute("href");
  const row = page.querySelector("tbody tr");
  page.querySelector("th:last-child button").click();
  found.sorted = row !== page.querySelector("tbody tr");
  document.querySelector("pre").textContent = JSON.stringify(found);
};
"""


def browse(folder: Path, *arguments: str) -> str:
    """What Chromium prints; it ends with all its processes."""
    assert BROWSER is not None
    own = f"--user-data-dir={folder / 'browser'}"
    process = subprocess.Popen(
        [BROWSER, *QUIET, own, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        return process.communicate(timeout=LIMIT_S)[0]
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def table(caption: str, num_rows: int, headings: Sequence[str], num_labels: int) -> Table:
    """Rows of a long label and numbers that have an interval and an error."""
    labels = [Cell.of_text("a_checkpoint_of_a_long_name")] * num_labels
    number = Cell("1.442", "1.442", True, "", ("[1.421, 1.462]", "+0.011 +0.8 % ✓"), "small")
    columns = len(headings) - num_labels
    rows = [
        [*labels, *[Cell(number.text, str(-row), True, "", number.more, "small")] * columns]
        for row in range(num_rows)
    ]
    top = [*labels, *[Cell.of_number(1.431)] * columns]
    return Table(caption, headings, rows, "A note.", top, num_labels, folded=num_rows > 40)


@pytest.fixture(scope="module")
def page() -> str:
    """A page of four runs: their comparison in four columns, main numbers, folds and many figures."""
    written = io.BytesIO()
    Image.new("RGB", (1200, 700), "grey").save(written, "PNG")
    figure = Figure("figure", "What is it?", "A figure.", written.getvalue(), (1200, 700))
    places = ("tropics, 0–15°", "subtropics, 15–30°", "midlatitudes, 30–50°", "tropical ocean")
    compared = table("Response to p4K", 4, ["run", *(f"ratio, {p}" for p in places)], 1)
    main = table("Main numbers", 25, ["quantity", "where", *["p2K", "95 % interval"] * 2], 2)
    folded = table("All diagnostics", 200, ["diagnostic", "where", *["value"] * 3], 2)
    run = [Section("run", f"run{i}", tables=[main, folded], figures=[figure] * 14) for i in (1, 2)]
    headline = Headline([("What warms", "Land does. " * 20)], figure, ["A warning."])
    together = Section("comparison", "Comparison of the runs", tables=[compared])
    return render(Contents([together, *run], headline), "A page", "Written now.")


def measured(page: str, folder: Path, width: int, *options: str) -> dict[str, Any]:
    """What `MEASURE` finds of a page in a frame of so many pixels."""
    frame = f'<iframe srcdoc="{html.escape(page)}" style="width:{width}px;height:900px;border:0">'
    around = folder / "frame.html"
    around.write_text(
        f'<meta charset="utf-8"><body style="margin:0">{frame}</iframe><pre></pre>'
        f"<script>{MEASURE}</script>",
        encoding="utf-8",
    )
    shown = browse(
        folder,
        "--dump-dom",
        "--virtual-time-budget=5000",
        "--window-size=1400,1000",
        *options,
        around.as_uri(),
    )
    (told,) = re.findall(r"<pre>(\{.*?\})</pre>", shown, re.DOTALL)
    found: dict[str, Any] = json.loads(html.unescape(told))
    return found


def test_on_a_phone_nothing_is_cut_and_labels_stick(page: str, tmp_path: Path) -> None:
    dark = "--blink-settings=preferredColorScheme=0"
    found = measured(page, tmp_path, 400, dark)
    assert found["width"] <= 400
    assert found["scrolled"] > 0
    assert min(found["labels"]) >= 0
    assert max(found["labels"]) < 200
    assert found["paper"] == "rgb(20, 24, 29)"
    assert found["small"] < 400
    assert found["large"] > 800
    assert found["back"] == "#shown-0"
    assert found["sorted"]


def test_on_a_screen_all_of_the_comparison_is_seen(page: str, tmp_path: Path) -> None:
    found = measured(page, tmp_path, 1300, "--blink-settings=preferredColorScheme=1")
    assert found["width"] <= 1300
    assert found["scrolled"] == 0
    assert found["paper"] == "rgb(255, 255, 255)"
    assert found["large"] > found["small"]


def test_paper_has_the_main_numbers_and_few_pages(page: str, tmp_path: Path) -> None:
    source, printed = tmp_path / "page.html", tmp_path / "page.pdf"
    source.write_text(page, encoding="utf-8")
    browse(tmp_path, "--no-pdf-header-footer", f"--print-to-pdf={printed}", source.as_uri())
    pages = len(re.findall(rb"/Type\s*/Page\b", printed.read_bytes()))
    assert 2 <= pages <= 8
