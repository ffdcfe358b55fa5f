"""Errors that one of several processes meets on its own, held until all of them speak."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from respeval.distributed.comm import Comm
from respeval.errors import BlowUpError, InputError, SharedInputError

Result = TypeVar("Result")


class HeldErrors:
    """What goes wrong on one of several processes between two collectives, held until `gather`.

    Until then the process does nothing but take part in the collectives, where the others would wait
    for it. One process alone holds nothing: errors are raised where they arise.
    """

    def __init__(self, comm: Comm) -> None:
        self._comm = comm
        self._error: BlowUpError | InputError | None = None

    @property
    def any(self) -> bool:
        return self._error is not None

    def attempt(self, action: Callable[[], Result], takes_part: bool = False) -> Result | None:
        """What `action` returns; None where it fails, or an error is held already.

        takes_part: whether other processes wait for this one within the action. An error that they do
        not share is raised at once then: they find that this process is gone.
        """
        if self._error is not None:
            return None
        try:
            return action()
        except (BlowUpError, InputError) as error:
            alone = takes_part and not isinstance(error, SharedInputError)
            if self._comm.num_processes == 1 or alone:
                raise
            self._error = error
            return None

    def gather(self, value: Result) -> list[Result]:
        """Every process's small picklable value, on every process, where none of them holds an error.

        Raises the first process's error on all of them: BlowUpError, or SharedInputError.
        """
        kind = BlowUpError if isinstance(self._error, BlowUpError) else SharedInputError
        held = None if self._error is None else (kind, str(self._error))
        told = self._comm.gather((value, held))
        for _, failed in told:
            if failed is not None:
                kind, message = failed
                raise kind(message)
        return [value for value, _ in told]
