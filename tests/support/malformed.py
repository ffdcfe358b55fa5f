"""What respeval says of malformed input: every way of breaking a file, and a table of the answers.

python -m tests.support.malformed            writes docs/malformed.md (`make malformed`)
python -m tests.support.malformed --serve    answers names of cases on stdin with JSON on stdout
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
import sys
import tempfile
from pathlib import Path

from tests.support import ROOT

os.environ["OMP_NUM_THREADS"] = "1"

from tests.support import broken_cases, broken_checkpoints, broken_data, broken_folders
from tests.support.broken import Broken, Outcome, outcome, write_good
from tests.support.invoking import from_first_error

CASES: dict[str, Broken] = {
    broken.name: broken
    for module in (broken_checkpoints, broken_cases, broken_data, broken_folders)
    for broken in module.CASES
}

PAGE = ROOT / "docs" / "malformed.md"

_INTRODUCTION = """\
# What broken input prints

Every row is a good small study of which one file was broken, the command that was then given, and the
line that it printed on stderr. All of them end with exit code 2, within seconds, and without running
anything that a file holds. `tests/test_malformed.py` holds respeval to this table; `make malformed`
writes it anew. `…` stands for the study's folder.

| malformed input | command | what respeval prints |
| --- | --- | --- |
"""


def shown(result: Outcome) -> str:
    """What a command printed, without what differs from day to day."""
    line = "\n".join(from_first_error(result.stderr)).removeprefix("respeval: ")
    line = re.sub(r"/tmp/\\w+", "…", line)
    return (line if len(line) <= 300 else f"{line[:299]}…").replace("|", "\\|")


def table(good: Path) -> str:
    rows = []
    for broken in CASES.values():
        printed = shown(outcome(broken, good)).replace("\n", " ")
        command = " ".join(("respeval", *broken.command))
        rows.append(f"| {broken.name} | `{command}` | {printed} |\n")
    return _INTRODUCTION + "".join(rows)


def serve(good: Path) -> None:
    """Answer until stdin ends; one process that has imported everything is the parent of all."""
    for line in sys.stdin:
        sys.stdout.write(json.dumps(dataclasses.asdict(outcome(CASES[line.strip()], good))) + "\n")
        sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--serve", action="store_true")
    parser.add_argument("--only", help="show these cases alone", default=None)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        good = write_good(Path(made) / "good")
        if arguments.serve:
            serve(good)
        elif arguments.only is not None:
            for name, broken in CASES.items():
                if re.search(arguments.only, name):
                    result = outcome(broken, good)
                    ok = result.code == 2 and len(from_first_error(result.stderr)) == 1
                    ok = ok and not result.strayed
                    ok = ok and broken.message in result.stderr and broken.message != ""
                    mark = "    " if ok else "BAD "
                    print(
                        f"{mark}{name} [{result.code}, {result.peak_bytes >> 20} MB, {result.strayed}]"
                    )
                    print("       ", result.stderr.strip() if ok else result.stderr[-1500:])
        else:
            PAGE.write_text(table(good))


if __name__ == "__main__":
    main()
