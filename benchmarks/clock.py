"""Timers inside a process, put around functions of the package without a change to them."""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any


class Clock:
    """Seconds of the thread that made it, by label.

    A labelled call within another one counts for its own label alone, so that the labels add up to
    the whole. Calls in other threads are not counted: they go on beside this one.
    """

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._thread = threading.get_ident()
        self._inner = [0.0]

    @contextlib.contextmanager
    def section(self, label: str) -> Iterator[None]:
        if threading.get_ident() != self._thread:
            yield
            return
        self._inner.append(0.0)
        begun = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - begun
            self.seconds[label] += spent - self._inner.pop()
            self._inner[-1] += spent

    @contextlib.contextmanager
    def around(self, label: str, owner: Any, *names: str) -> Iterator[None]:
        """Time these functions of a class or module while the context lasts."""
        originals = {name: getattr(owner, name) for name in names}

        def timed(function: Any) -> Any:
            @functools.wraps(function)
            def call(*arguments: Any, **options: Any) -> Any:
                with self.section(label):
                    return function(*arguments, **options)

            return call

        with _replaced(owner, {name: timed(function) for name, function in originals.items()}):
            yield

    @contextlib.contextmanager
    def around_items(self, label: str, owner: Any, name: str) -> Iterator[None]:
        """Time how long a generator function makes its caller wait for each item."""
        original = getattr(owner, name)

        def items(*arguments: Any, **options: Any) -> Iterator[Any]:
            with contextlib.closing(original(*arguments, **options)) as source:
                while True:
                    with self.section(label):
                        item = next(source, None)
                    if item is None:
                        return
                    yield item

        with _replaced(owner, {name: items}):
            yield


@contextlib.contextmanager
def _replaced(owner: Any, attributes: dict[str, Any]) -> Iterator[None]:
    originals = {name: owner.__dict__[name] for name in attributes}
    for name, value in attributes.items():
        setattr(owner, name, value)
    try:
        yield
    finally:
        for name, value in originals.items():
            setattr(owner, name, value)
