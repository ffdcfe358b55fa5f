"""`respeval report`: a page that is whole by itself, with the numbers of the files, whatever they hold."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pytest
import xarray as xr

from respeval.analysis.comparison import Wishes, compare_runs
from respeval.analysis.comparison_files import write_comparison
from respeval.analysis.finished_runs import find_runs
from respeval.analysis.folder import TRUTH
from respeval.files.netcdf import open_saved, write_netcdf
from respeval.files.publish import write_json
from respeval.presentation.report.headline import BESIDE, NOT_YET, WARMS
from tests.support import studies
from tests.support.invoking import invoked
from tests.support.studies import write_study

#: Elements without an end.
VOID = {"meta", "img", "br", "hr", "link", "input", "source"}

OPTIONS = ("--days", "9", "--segment", "4 steps")

HOSTILE = "<script>alert('x')</script><img src=http://evil.example/x onerror=alert(1)>\"'&"


def refused(*arguments: object) -> str:
    """The one line on stderr of a command that must be refused."""
    lines = invoked(*arguments, code=2).stderr.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("respeval: ")
    return lines[0]


@dataclass
class ReadTable:
    """A table of a page: its headings, its rows of (text, value to sort by), which are numbers."""

    caption: str = ""
    headings: list[str] = field(default_factory=list)
    rows: list[list[tuple[str, str]]] = field(default_factory=list)
    numbers: list[list[bool]] = field(default_factory=list)
    top: list[tuple[str, str]] = field(default_factory=list)


class Page(HTMLParser):
    """A page read strictly: every element ends where it should."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[ReadTable] = []
        self.texts: dict[str, list[str]] = {}
        self._text = self._cell = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        assert len(given) == len(attrs), f"{tag} has an attribute twice"
        self.elements.append((tag, given))
        if tag not in VOID:
            self.open.append(tag)
        self._text = ""
        if tag == "table":
            self.tables.append(ReadTable())
        elif tag == "tr" and "tbody" in self.open:
            self.tables[-1].rows.append([])
            self.tables[-1].numbers.append([])
        elif tag == "td":
            self._cell = ""
            if "tbody" in self.open:
                self.tables[-1].rows[-1].append(("", str(given["data-value"])))
                self.tables[-1].numbers[-1].append("number" in str(given.get("class")).split())
            else:
                self.tables[-1].top.append(("", str(given["data-value"])))

    def handle_data(self, text: str) -> None:
        self._text += text
        self._cell += text

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        text = self._text.strip()
        self.texts.setdefault(tag, []).append(text)
        if tag == "caption":
            self.tables[-1].caption = text
        elif tag == "th":
            self.tables[-1].headings.append(text)
        elif tag == "td":
            row = self.tables[-1].rows[-1] if "tbody" in self.open else self.tables[-1].top
            row[-1] = (" ".join(self._cell.split()), row[-1][1])
        if tag not in ("script", "style"):
            self._text = ""

    def table(self, caption: str) -> ReadTable:
        return next(table for table in self.tables if table.caption == caption)

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.elements if name == tag]


def read(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep over a.pt, whose truth is known, b.pt, which is broken, and c.pt, without figures."""
    folder = tmp_path_factory.mktemp("report")
    write_study(folder).unlink()
    for seed, name in enumerate("ac"):
        studies.checkpoint(folder / f"{name}.pt", seed)
    (folder / "b.pt").write_bytes(b"nothing")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("respeval.plotting.style.DOTS_PER_INCH", 30)
        invoked("run", folder / "a.pt", folder / "b.pt", "-o", folder / "sweep", *OPTIONS, code=1)
        patch.setattr("respeval.analysis.results.Pictures", MagicMock())
        invoked("run", folder / "*.pt", "-o", folder / "sweep", *OPTIONS, code=1)
    with open_saved(folder / "sweep" / "a" / "response.nc") as response:
        outputs = [n for n in response.data_vars if f"{n}_stderr" in response]
        truth = response[[*outputs, "ocean_mask", "land_mask", "area_weight"]].load()
    write_netcdf(truth, folder / "sweep" / "a" / TRUTH)
    return folder / "sweep"


@pytest.fixture(scope="module")
def page(sweep: Path) -> Page:
    result = invoked("report", sweep, "-o", sweep.parent / "pages" / "page.html")
    assert "2 runs, 1 comparison" in result.stdout
    (line,) = result.stderr.splitlines()
    assert line.endswith("sweep/b is no finished run: failed")
    return read(sweep.parent / "pages" / "page.html")


def test_the_page_needs_nothing_but_itself(page: Page) -> None:
    for _, attrs in page.elements:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            link = attrs.get(name)
            assert link is None or link.startswith(("#", "data:image/png;base64,"))
    assert {"link", "iframe", "object", "embed", "base", "form"}.isdisjoint(
        t for t, _ in page.elements
    )
    (style,) = page.texts["style"]
    assert "url(" not in style
    assert "@import" not in style
    targets = {attrs["id"] for _, attrs in page.elements if "id" in attrs}
    assert {str(a["href"])[1:] for a in page.attributes("a")} == targets


def test_the_browser_is_told_to_load_nothing_and_run_one_script(sweep: Path, page: Page) -> None:
    text = (sweep.parent / "pages" / "page.html").read_text(encoding="utf-8")
    policy = next(str(a["content"]) for a in page.attributes("meta") if "http-equiv" in a)
    parts = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert parts["default-src"] == "'none'"
    assert parts["img-src"] == "data:"
    for tag, rule in (("script", "script-src"), ("style", "style-src")):
        assert text.count(f"<{tag}") == 1
        content = text.split(f"<{tag}>")[1].split(f"</{tag}>")[0]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert parts[rule] == f"'sha256-{digest}'"
    assert not any(name.startswith("on") for _, attrs in page.elements for name in attrs)


def test_every_cell_has_what_it_is_sorted_by(page: Page) -> None:
    assert len(page.tables) == 2 + 2 * 4
    for table in page.tables:
        assert table.rows
        for row in table.rows:
            assert len(row) == len(table.headings)
        for kinds in zip(*table.numbers, strict=True):
            assert len(set(kinds)) == 1  # a column is of numbers or of texts
        for row, kinds in zip(table.rows, table.numbers, strict=True):
            for (_, value), is_number in zip(row, kinds, strict=True):
                assert not is_number or value == "" or float(value) is not None


def test_the_agreement_with_a_reference_stands_in_the_page(sweep: Path, tmp_path: Path) -> None:
    shutil.copytree(sweep / "a", tmp_path / "a")
    invoked("diagnose", tmp_path / "a", "--reference", sweep / "c")
    invoked("report", tmp_path / "a", "-o", tmp_path / "page.html")
    summary = json.loads((tmp_path / "a" / "summary.json").read_text())
    table = read(tmp_path / "page.html").table("Agreement with the reference")
    assert table.headings[5:7] == ["RMSE", "without noise"]
    found = {}
    for name, where, label, bias, _, rmse, *_, correlation, _, within, units in table.rows:
        assert within[0] in ("yes", "no", "")
        assert units[0] != ""
        for statistic, cell in (
            ("bias", bias),
            ("rmse", rmse),
            ("pattern_correlation", correlation),
        ):
            key = f"{label[1]}/reference/{statistic}/{where[1]}/{name[1]}"
            found[key] = float(cell[1]) if cell[1] else None
    assert len(found) >= 3 * 3
    assert any(value for value in found.values())
    assert found == pytest.approx({key: summary[key] for key in found})


def test_the_numbers_are_those_of_the_summary(sweep: Path, page: Page) -> None:
    summary = json.loads((sweep / "a" / "summary.json").read_text())
    found = {}
    for caption in ("All diagnostics", "Mean response of every output"):
        for name, where, label, value, *_ in page.table(caption).rows:
            places = list(filter(None, where[1].split(", ")))
            if caption != "All diagnostics":
                per_K = "_per_K" if name[1].endswith("_per_K") else ""
                output = name[1].removesuffix(per_K or "_mean")
                key = f"{label[1]}/{places[0].replace('all', 'global')}_mean{per_K}/{output}"
            elif label[1] == "baseline":
                key = "/".join(["baseline", name[1].removeprefix("baseline_"), *places])
            else:
                key = "/".join([label[1], name[1], *places])
            found[key] = float(value[1]) if value[1] else None
    assert len(found) > 50
    assert "p4K/land_ocean_warming_ratio/tropics" in found
    assert {key: summary[key] for key in found} == found
    left = set(summary) - set(found)
    assert {key for key in left if not any(f"_{s}" in key for s in SUFFIXES)} == {"warnings"}


#: Of numbers in other columns, and of what a figure shows.
SUFFIXES = ("stderr", "low", "high", "num_effective", "noise", "to_5_percent")


def test_the_main_table_has_the_interval_and_the_truth(sweep: Path, page: Page) -> None:
    table = page.table("Main numbers")
    block = ["95 % interval", "truth", "error"]
    assert table.headings == ["quantity", "where", "p2K", *block, "p4K", *block]
    summary = json.loads((sweep / "a" / "summary.json").read_text())
    row = next(r for r in table.rows if (r[0][0], r[1][1]) == ("land warming, K", "tropics"))
    value, interval, truth, error = row[6:10]
    assert row[1][0] == "tropics, 0–30°"
    assert float(value[1]) == summary["p4K/land_warming/tropics"]
    low, high = (summary[f"p4K/land_warming_{end}/tropics"] for end in ("low", "high"))
    assert [float(end) for end in interval[0].split(" to ")] == pytest.approx([low, high], rel=1e-2)
    assert float(interval[1]) == high - low
    assert float(truth[1]) == pytest.approx(float(value[1]), rel=1e-6)
    assert error[0].endswith("0.0 % ✓")
    assert page.tables[-4].caption == "Main numbers"
    assert "truth" not in page.tables[-4].headings  # that of c is not known


def test_the_comparison_comes_first(sweep: Path, page: Page) -> None:
    assert page.texts["h2"][:3] == [WARMS, BESIDE, NOT_YET]
    assert page.texts["h2"][3:] == ["Comparison of the runs", "Run a", "Run c", "Provenance"]
    table = page.table("Response to p4K")
    assert [row[0][0] for row in table.rows] == ["a", "c"]
    column = next(
        i for i, h in enumerate(table.headings) if h == "land/ocean ratio, tropics, 0–30°"
    )
    for name, row in zip("ac", table.rows, strict=True):
        summary = json.loads((sweep / name / "summary.json").read_text())
        assert float(row[column][1]) == summary["p4K/land_ocean_warming_ratio/tropics"]
    assert "There are no figures; respeval diagnose draws them." in page.texts["p"]


def test_figures_are_those_of_the_folder_and_say_what_they_show(sweep: Path, page: Page) -> None:
    pictures = page.attributes("img")
    files = sorted((sweep / "a" / "figures").glob("*.png"))
    num_drawn = 2 + 1  # maps of both perturbations, and the overview
    assert len(pictures) == num_drawn + len(files)
    inlined = {base64.b64decode(str(p["src"]).split(",", 1)[1]) for p in pictures[num_drawn:]}
    assert inlined == {file.read_bytes() for file in files}
    for picture in pictures:
        assert len(str(picture["alt"])) > 30
        assert int(str(picture["width"])) > 0
    assert page.texts["h3"].index("Does land warm more than ocean?") == num_drawn


def test_published_ranges_are_background_that_can_be_left_out(
    sweep: Path, page: Page, tmp_path: Path
) -> None:
    table = page.table("What is published of models, as background")
    assert [row[1][0] for row in table.rows] == ["1.36 to 1.84", "about 1.5", "1.51 ± 0.13"]
    summary = json.loads((sweep / "a" / "summary.json").read_text())
    first = summary["p2K/global_land_ocean_warming_ratio"]
    assert float(table.rows[0][table.headings.index("p2K")][1]) == first
    invoked("report", sweep / "c", "-o", tmp_path / "page.html", "--no-literature")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Sutton" not in text
    assert "There is no reference to hold the numbers against." in text
    told = invoked("diagnose", shutil.copytree(sweep / "c", tmp_path / "c")).stdout
    assert "published 1.36 to 1.84 (CMIP3, Sutton et al. 2007)" in " ".join(told.split())
    quiet = invoked("diagnose", tmp_path / "c", "--no-literature").stdout
    assert "Sutton" not in quiet


def test_provenance_and_the_case_are_at_the_end(sweep: Path, page: Page) -> None:
    manifest = json.loads((sweep / "a" / "manifest.json").read_text())
    told = page.texts["dd"]
    for text in (
        *(manifest["checkpoint_sha256"], manifest["case_digest"], manifest["created"]),
        *manifest["versions"].values(),
    ):
        assert text in told
    assert (sweep / "a" / "case.yaml").read_text().strip() in page.texts["pre"]
    assert "9 days (9 steps of 24 h), spin-up: none" in told


def test_whatever_a_file_holds_is_text(sweep: Path, tmp_path: Path) -> None:
    folder = tmp_path / "<b onclick=alert(1)>run"
    shutil.copytree(sweep / "a", folder)
    (folder / TRUTH).unlink()
    with open_saved(folder / "diagnostics.nc") as opened:
        diagnostics = opened.load()
    diagnostics["level"] = [HOSTILE, "second"]
    diagnostics["column_warming"].attrs |= {"units": HOSTILE, "long_name": HOSTILE}
    diagnostics.attrs["history"] = HOSTILE
    write_netcdf(diagnostics, folder / "diagnostics.nc")
    manifest = json.loads((folder / "manifest.json").read_text())
    odd = {
        "grid": HOSTILE,
        "checkpoint": HOSTILE,
        "versions": {HOSTILE: HOSTILE},
        "num_steps": HOSTILE,
    }
    write_json(folder / "manifest.json", manifest | odd)
    first = next((folder / "figures").glob("*.png"))
    shutil.copy(first, folder / "figures" / "<script>alert(2)<!-- .png")
    invoked("report", folder, "-o", tmp_path / "page.html", "--title", HOSTILE)
    hostile = read(tmp_path / "page.html")
    test_the_page_needs_nothing_but_itself(hostile)
    assert len(hostile.attributes("script")) == 1
    assert not any("onerror" in attrs or "onclick" in attrs for _, attrs in hostile.elements)
    assert hostile.texts["h1"] == [HOSTILE]
    assert HOSTILE in hostile.texts["td"]
    assert HOSTILE in hostile.texts["dd"]
    assert HOSTILE in hostile.texts["dt"] or f"Version of {HOSTILE}" in hostile.texts["dt"]
    assert any(text.startswith("<script>alert(2)") for text in hostile.texts["h3"])


def make_probe(folder: Path) -> Path:
    """What a report reads of a gradient probe."""
    folder.mkdir()
    profile = xr.Dataset({"grad_rms": (("arm", "layer", "degree"), np.ones((1, 2, 3)))})
    profile.attrs |= {"checkpoint": "tiny.pt", "loss_terms": "1 CRPS", "source": "respeval"}
    write_netcdf(profile, folder / "gradient_profile.nc")
    numbers = {"none/loss": 0.1478, "none/loss_interval": [0.1462, 0.1494], "none/slope": None}
    write_json(folder / "summary.json", numbers)
    return folder


def test_probes_and_comparisons_have_sections(sweep: Path, tmp_path: Path) -> None:
    probe = make_probe(tmp_path / "probe")
    compared = tmp_path / "compared"
    compared.mkdir()
    comparison = compare_runs(find_runs([sweep])[0], Wishes(num_workers=1))
    write_comparison(comparison, compared)
    output = tmp_path / "page.html"
    assert (
        "1 probe, 1 comparison, 0 figures"
        in invoked("report", probe, compared, "-o", output).stdout
    )
    both = read(output)
    assert both.texts["h2"][:3] == [WARMS, BESIDE, NOT_YET]
    assert both.texts["h2"][3:] == ["Comparison in compared", "Gradient probe probe", "Provenance"]
    rows = both.table("Statistics of every arm").rows
    assert [[text for text, _ in row] for row in rows] == [
        ["none", "loss", "0.1478", "0.1462 to 0.1494"],
        ["none", "slope", "-", "-"],
    ]
    assert rows[0][2][1] == "0.1478"
    table = both.table("Response to p2K")
    ratio = comparison["vertical_warming_ratio_tropical_ocean"].sel(perturbation="p2K")
    column = table.headings.index("vertical ratio")
    assert [float(row[column][1]) for row in table.rows] == ratio.values.tolist()


def test_what_is_no_finished_run_is_refused_in_one_line(sweep: Path, tmp_path: Path) -> None:
    output = ("-o", tmp_path / "page.html")
    assert "no such folder" in refused("report", tmp_path / "nothing", *output)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "is no folder of a run" in refused("report", empty, *output)
    running = tmp_path / "running"
    shutil.copytree(sweep / "a", running)
    manifest = json.loads((running / "manifest.json").read_text())
    write_json(running / "manifest.json", manifest | {"status": "running"})
    assert "is no finished run: running" in refused("report", sweep / "c", running, *output)
    assert "is a folder; name the page" in refused("report", sweep / "c", "-o", tmp_path)
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("diagnostics.nc", b"half", "diagnostics.nc"),
        ("figures/response_map.png", b"\x89PNG\r\n\x1a\n but no more", "is no picture"),
        ("case.yaml", b"\xff\xfe", "case.yaml"),
        (TRUTH, b"half", TRUTH),
    ],
)
def test_damaged_files_are_named_in_one_line(
    sweep: Path, tmp_path: Path, file: str, content: bytes, message: str
) -> None:
    run = tmp_path / "run"
    shutil.copytree(sweep / "a", run)
    (run / file).write_bytes(content)
    output = tmp_path / "page.html"
    output.write_text("the old page")
    assert message in refused("report", run, "-o", output)
    assert output.read_text() == "the old page"


def test_other_diagnostics_than_a_runs_are_refused(sweep: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(sweep / "c", run)
    write_netcdf(xr.Dataset({"land_warming": ("x", [1.0])}), run / "diagnostics.nc")
    assert "its results are not what a run writes" in refused(
        "report", run, "-o", tmp_path / "page.html"
    )


def test_a_large_page_is_told_of(
    sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("respeval.commands.report._MANY_BYTES", 10_000)
    result = invoked("report", sweep / "c", "-o", tmp_path / "page.html")
    assert "a browser opens reports of fewer runs faster" in result.stderr


def test_large_pictures_are_made_smaller(sweep: Path, tmp_path: Path) -> None:
    from PIL import Image

    run = tmp_path / "run"
    shutil.copytree(sweep / "c", run)
    (run / "figures").mkdir(exist_ok=True)
    Image.new("RGB", (3200, 1000), "red").save(run / "figures" / "wide.png")
    invoked("report", run, "-o", tmp_path / "page.html")
    (picture,) = read(tmp_path / "page.html").attributes("img")
    assert (picture["width"], picture["height"]) == ("1600", "500")


def test_diagnose_draws_the_truth_that_a_run_holds(
    sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = MagicMock()
    monkeypatch.setattr("respeval.analysis.results.Pictures", pictures)
    shutil.copytree(sweep / "a", tmp_path / "run")
    invoked("diagnose", tmp_path / "run", "--bands", "all=0:90")
    _, reference, name, _ = pictures.call_args.args
    assert name == "truth"
    assert reference["land_ocean_warming_ratio"]["band"].values.tolist() == ["all"]
    invoked("diagnose", shutil.copytree(sweep / "c", tmp_path / "unknown"))
    assert pictures.call_args.args[1] is None
    write_netcdf(xr.Dataset({"x": 1.0}), tmp_path / "run" / TRUTH)
    assert "holds no true response" in refused("diagnose", tmp_path / "run")
