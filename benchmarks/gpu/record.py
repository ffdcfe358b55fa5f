"""What was found is kept in benchmarks/results/gpu.json, and told by docs/benchmarks_gpu.md."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.__main__ import shown
from benchmarks.frame import GPU_PAGE, RESULTS, Goal, Outcome, Table, told_circumstances
from benchmarks.gpu.parts import NAMES, load

KEPT = RESULTS / "gpu.json"

#: How a part ended.
DONE, CUT, FAILED, LEFT_OUT = "done", "cut off", "failed", "left out"

_BEGINNING = """\
# Benchmarks on a GPU

`make gpu` checks and measures respeval on a CUDA device in at most eight minutes: first the tests of
`tests/gpu`, then the benchmarks below, each in a process of its own. After each of them it writes this page,
and all numbers into `benchmarks/results`, so that a run that is cut off leaves what was done.

    make gpu                                   # .venv-gpu, from the lock file, with the CUDA build of torch
    make gpu ENV=/path/to/environment          # one that is there: nothing is installed into it
    make gpu GPU_ARGS="--parts overhead,noise --minutes 4"
    make gpu GPU_ARGS=--rehearse               # without a GPU: its code at sizes that measure nothing

Times are on the clock, to the end of what the device was asked for; what is compared is measured alternately
in one process. The same on a CPU: [Benchmarks](benchmarks.md).
"""

_NOTHING = """\
**Nothing has been measured on a GPU yet**, and no test has run on one: none was at hand. Without a device the
tests and benchmarks are rehearsed on a CPU, and collectives on a pretended device
(`tests/support/pretended_gpu.py`), which shows that they run and not what they would find.
"""


@dataclass(frozen=True)
class Entry:
    """How a part ended, and what it had found by then. state: one of the four; reason: in one line."""

    state: str
    seconds: float
    where: Mapping[str, Any]
    reason: str = ""
    outcome: Outcome | None = None

    @property
    def is_good(self) -> bool:
        return self.state in (DONE, LEFT_OUT)

    def __str__(self) -> str:
        return f"{self.state}: {self.reason}" if self.reason else self.state


def outcome_of(content: Mapping[str, Any] | None) -> Outcome | None:
    """The inverse of `dataclasses.asdict`, from JSON."""
    if content is None:
        return None
    tables = [Table(**entry) for entry in content["tables"]]
    goals = [Goal(**entry) for entry in content["goals"]]
    return Outcome(tables, goals, content["notes"], content["numbers"])


def read(path: Path) -> dict[str, Entry]:
    """Part -> what is kept of it."""
    if not path.exists():
        return {}
    content = json.loads(path.read_text())
    return {
        name: Entry(**{**entry, "outcome": outcome_of(entry["outcome"])})
        for name, entry in content.items()
    }


def replace_file(path: Path, text: str) -> None:
    """The file has this text, or what it had before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text)
    os.replace(beside, path)


def keep(name: str, entry: Entry, kept: Path = KEPT, page_file: Path = GPU_PAGE) -> None:
    """Keep a part's entry among those of earlier runs, and write the page anew.

    What was left out this time does not take the place of what was measured before.
    """
    entries = read(kept)
    if entry.state == LEFT_OUT and name in entries and entries[name].outcome is not None:
        return
    entries[name] = entry
    ordered = {key: asdict(entries[key]) for key in NAMES if key in entries}
    replace_file(kept, json.dumps(ordered, indent=1) + "\n")
    replace_file(page_file, page(entries))


def page(entries: Mapping[str, Entry]) -> str:
    """The page of what is kept."""
    if not any(entry.outcome for entry in entries.values()):
        return f"{_BEGINNING}\n{_NOTHING}"
    parts = [_BEGINNING]
    for name in NAMES:
        if name in entries:
            part, entry = load(name), entries[name]
            text = [f"## {part.title}\n", f"{part.method}\n"]
            if entry.state != DONE:
                text.append(f"**{entry}.**\n")
            if entry.outcome is not None:
                text += [f"{note}\n" for note in entry.outcome.notes]
                text.append(f"```text\n{shown(entry.outcome)}\n```\n")
            told = f'`make gpu GPU_ARGS="--parts {name}"`, {entry.seconds:.0f} s'
            text.append(f"{told}: {told_device(entry.where)}.\n")
            parts.append("\n".join(text))
    return "\n".join(parts)


def told_device(where: Mapping[str, Any]) -> str:
    """One line of `device_circumstances`."""
    device = where.get("device")
    told = told_circumstances(dict(where))
    return f"{device}; {told}" if device else told
