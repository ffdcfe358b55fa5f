"""Progress of a run in a notebook."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection
from html import escape
from importlib import import_module
from typing import Any

from respeval.plan.plan import Plan, date_of
from respeval.rollout.guard import Fault
from respeval.runner import Reporter

#: Seconds between two changes of the line.
_INTERVAL_S = 0.5


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell: Any = ipython.get_ipython() if ipython is not None else None
    return shell is not None and type(shell).__name__ == "ZMQInteractiveShell"


class NotebookReporter(Reporter):
    """One line with a bar, which is overwritten while the run goes on."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._texts: list[str] = []
        self._step, self._shown_at = 0, 0.0

    def planned(self, plan: Plan, first_step: int) -> None:
        """See `Reporter`."""
        display: Any = import_module("IPython.display").display
        self._plan, self._step = plan, first_step
        self._handle = display({"text/html": self._html()}, raw=True, display_id=True)

    def stepped(self, step: int) -> None:
        """See `Reporter`."""
        self._step = step
        if time.monotonic() - self._shown_at > _INTERVAL_S:
            self._show()

    def quarantined(self, fault: Fault) -> None:
        """See `Reporter`."""
        self._texts.append(f"sample left out from here on: {fault}")

    def left_out(self, fault: Fault, samples: Collection[int]) -> None:
        """See `Reporter`."""
        self._texts.append(f"{fault.group} is left out of all results: it blew up in every sample")

    def noticed(self, text: str) -> None:
        """See `Reporter`."""
        self._texts.append(text)

    def close(self) -> None:
        """See `Reporter`."""
        if self._handle is not None:
            self._show()

    def _show(self) -> None:
        self._shown_at = time.monotonic()
        self._handle.update({"text/html": self._html()}, raw=True)

    def _html(self) -> str:
        plan, step = self._plan, self._step
        date = date_of(plan, step).strftime("%Y-%m-%d")
        texts = [*plan.warnings, *self._texts]
        warnings = "".join(f"<br>warning: {escape(text)}" for text in dict.fromkeys(texts))
        return (
            f'<progress value="{step}" max="{plan.num_steps}"></progress> {escape(date)}, step {step:,} of '
            f"{plan.num_steps:,}{warnings}"
        )
