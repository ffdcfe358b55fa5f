"""Memory that the C library holds for the process after it was freed."""

from __future__ import annotations

import contextlib
import ctypes


def give_back_freed() -> None:
    """Give the system back what was freed, before other work that needs other memory.

    glibc keeps most of it for more of the same; other C libraries are left alone.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
