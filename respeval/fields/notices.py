"""What is noticed while files are read: warnings, each told once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Notice(NamedTuple):
    """A warning; about: how it begins, where others on the same matter end differently."""

    text: str
    about: str | None = None


class Notices:
    """The warnings of a run in the order in which they were told, each once.

    Every run has its own; whatever opens and reads its files tells it, in whichever thread.
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._told = [Notice(text) for text in texts]

    def tell(self, text: str, about: str | None = None) -> bool:
        """Keep a warning; returns whether it is new.

        about: how it begins, where it ends with what differs from time to time, such as a date: of
        warnings that begin so the first one alone is kept.
        """
        assert about is None or text.startswith(about)
        for known in self._told:
            if known.text == text or (about is not None and known.text.startswith(about)):
                return False
        self._told.append(Notice(text, about))
        return True

    def take(self, notices: Iterable[Notice]) -> list[str]:
        """Tell the warnings of another run or process; returns the texts that are new."""
        return [notice.text for notice in notices if self.tell(*notice)]

    @property
    def told(self) -> tuple[Notice, ...]:
        """All of them, as another one's `take` gets them."""
        return tuple(self._told)

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(notice.text for notice in self._told)
