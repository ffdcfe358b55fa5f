"""One part in a process of its own: `python -m benchmarks.gpu.child REPORT SETTING-as-JSON`.

The report has what was found so far after each piece of the part.
"""

from __future__ import annotations

import json
import sys
import traceback
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.frame import Outcome
from benchmarks.gpu.part import FailedError, LeftOutError
from benchmarks.gpu.parts import load
from benchmarks.gpu.record import DONE, FAILED, LEFT_OUT, replace_file
from benchmarks.gpu.setting import Setting
from respeval.errors import first_line


def main() -> None:
    report, asked = Path(sys.argv[1]), json.loads(sys.argv[2])
    device = torch.device("cuda", 0) if asked["device"] == "cuda" else torch.device("cpu")
    setting = Setting(device, asked["quick"], Path(asked["folder"]), asked["end"])
    warnings.simplefilter("ignore")  # torch remarks on complex numbers
    if device.type == "cuda":
        torch.cuda.set_device(device)
    else:
        torch.set_num_threads(1)
    outcome: Outcome | None = None

    def tell(state: str | None, reason: str = "") -> None:
        found = None if outcome is None else asdict(outcome)
        replace_file(report, json.dumps({"state": state, "reason": reason, "outcome": found}))

    state, reason = DONE, ""
    try:
        for found in load(asked["part"]).run(setting):
            outcome = found
            tell(None)
    except LeftOutError as error:
        state, reason = LEFT_OUT, str(error)
    except FailedError as error:
        state, reason = FAILED, str(error)
    except (Exception, SystemExit) as error:  # the other parts are to run all the same
        traceback.print_exc()
        state, reason = FAILED, f"{type(error).__name__}: {_short(error)}"
    tell(state, reason)


def _short(error: Any) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if isinstance(error, SystemExit) and lines else first_line(error))[:200]


if __name__ == "__main__":
    main()
