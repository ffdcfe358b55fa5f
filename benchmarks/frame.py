"""What all benchmarks share: options, alternating rounds, tables, goals, and where it was measured."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

from rich import box
from rich.console import Console
from rich.table import Table as RichTable

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "benchmarks.md"
GPU_PAGE = ROOT / "docs" / "benchmarks_gpu.md"

#: Packages whose versions tell what was measured.
PACKAGES = ("torch", "torch-harmonics", "numpy", "xarray", "netCDF4", "fme")

First, Second = TypeVar("First"), TypeVar("Second")


@dataclass(frozen=True)
class Options:
    """How much is measured.

    quick: sizes that only show that a benchmark works. long: the variants that take long, too.
    ace_python: the interpreter of an environment with fme.
    """

    rounds: int = 3
    quick: bool = False
    long: bool = False
    ace_python: Path = ROOT / ".venv-ace" / "bin" / "python"


@dataclass(frozen=True)
class Table:
    """Rows of text below a header; the first column is to the left, numbers to the right."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def text(self) -> str:
        """As a terminal shows it, without colours."""
        shown = RichTable(title=self.title, box=box.HEAVY_HEAD, title_justify="left")
        for number, heading in enumerate(self.header):
            shown.add_column(heading, justify="right" if number else "left", no_wrap=True)
        for row in self.rows:
            shown.add_row(*row)
        console = Console(width=200, color_system=None, markup=False, highlight=False)
        with console.capture() as captured:
            console.print(shown)
        return "\n".join(line.rstrip() for line in captured.get().splitlines())


@dataclass(frozen=True)
class Goal:
    """A number that is to be at most, or at least, a limit."""

    what: str
    measured: float
    limit: float
    at_least: bool = False
    unit: str = ""

    @property
    def is_met(self) -> bool:
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit

    def __str__(self) -> str:
        bound = "at least" if self.at_least else "at most"
        unit = f" {self.unit}" if self.unit else ""
        state = "met" if self.is_met else "NOT met"
        return f"{self.what}: {self.measured:.3g}{unit}, goal {bound} {self.limit:g}{unit}: {state}"


@dataclass(frozen=True)
class Outcome:
    """What a benchmark found. numbers: everything measured, for the JSON. notes: what to read into it."""

    tables: Sequence[Table]
    goals: Sequence[Goal] = ()
    notes: Sequence[str] = ()
    numbers: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Benchmark:
    """title, method: what the page says of it; run: the measurement.

    needs_ace: whether the whole of it needs an environment with fme.
    """

    title: str
    method: str
    run: Callable[[Options], Outcome]
    needs_ace: bool = False


def alternate(
    rounds: int, first: Callable[[], First], second: Callable[[], Second]
) -> list[tuple[First, Second]]:
    """Both measurements in every round, the one that comes first changing from round to round."""
    found = []
    for number in range(rounds):
        if number % 2:
            after = second()
            found.append((first(), after))
        else:
            found.append((first(), second()))
    return found


def spread(values: Sequence[float], form: str = ".2f") -> str:
    """`0.52 (0.50 to 0.55)`: median, lowest and highest."""
    middle = format(statistics.median(values), form)
    if len(values) == 1:
        return middle
    return f"{middle} ({format(min(values), form)} to {format(max(values), form)})"


def circumstances() -> dict[str, Any]:
    """Machine, versions and time. load: processes that ran already, mean of the last minute."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "revision": _revision(),
        "machine": f"{_processor()}, {os.cpu_count()} cores, {_memory_GiB():.0f} GiB",
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        **versions,
    }


def _revision() -> str:
    """The commit, and whether the working tree differs in more than what benchmarks write themselves."""
    commit = _git("rev-parse", "--short", "HEAD")
    if not commit:
        return "unknown"
    written = (f":(exclude){path.relative_to(ROOT)}" for path in (RESULTS, PAGE, GPU_PAGE))
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", *written)
    return f"{commit}-dirty" if changed else commit


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:  # a machine for a few minutes may have no git
        return ""
    return done.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        named = next(line for line in lines if line.startswith("model name"))
        return named.partition(":")[2].strip()
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _memory_GiB() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def told_circumstances(where: dict[str, Any]) -> str:
    """One line of `circumstances`."""
    versions = ", ".join(f"{n} {where[n]}" for n in ("python", *PACKAGES) if n in where)
    return (
        f"{where['date']}, revision {where['revision']}, {where['machine']}, load before: "
        f"{where['load']}; {versions}"
    )


def as_json(outcome: Outcome, seconds: float, where: dict[str, Any]) -> str:
    """Everything of an outcome, to be read again by `from_json`."""
    content = {"circumstances": where, "seconds": round(seconds), **asdict(outcome)}
    return json.dumps(content, indent=1) + "\n"


def from_json(text: str) -> tuple[Outcome, float, dict[str, Any]]:
    """The inverse of `as_json`."""
    content = json.loads(text)
    tables = [Table(**entry) for entry in content["tables"]]
    goals = [Goal(**entry) for entry in content["goals"]]
    outcome = Outcome(tables, goals, content["notes"], content["numbers"])
    return outcome, content["seconds"], content["circumstances"]
