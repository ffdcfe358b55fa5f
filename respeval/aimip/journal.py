"""What an export has written so far, so that the same command goes on after a kill.

It lies in a folder of its own beside the submission's, `.export-…`, in which files are written before
they get their places: no kill leaves half a file in a folder of CMIP's. The folder is gone at the end.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from respeval.errors import InputError
from respeval.files.lock import FolderLock
from respeval.files.publish import is_partial, make_folder, remove_files, write_json
from respeval.files.text import parse_json, read_document
from respeval.run_folder.names import MANIFEST

_NAME = "journal.json"


@dataclass
class Journal:
    """Files of a submission that this very export began to write, and those that are whole.

    within: where they are written. version: of the submission, as it was when the export began.
    """

    root: Path
    within: Path
    version: str
    begun: set[str] = field(default_factory=set)
    done: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, folder: Path, root: Path, wish: Mapping[str, Any], version: str) -> Journal:
        """Of the export of a run to `root` that is asked for so; the journal of an earlier command if
        it was killed. Raises InputError where that can't be read."""
        asked = json.dumps(wish, sort_keys=True, default=str).encode()
        digest = hashlib.sha256((folder / MANIFEST).read_bytes() + asked).hexdigest()
        within = root / f".export-{digest[:12]}"
        path = within / _NAME
        if not path.is_file():
            return cls(root, within, version)
        try:
            kept = parse_json(read_document(path, "journal of an export"))
            return cls(root, within, str(kept["version"]), set(kept["begun"]), set(kept["done"]))
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} can't be read ({error}); remove {within}") from None

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Within this the export is this process's; at its end, if it is a good one, all is removed."""
        make_folder(self.within)
        lock = FolderLock(self.within)
        lock.acquire()
        try:
            remove_files(path for path in self.within.iterdir() if is_partial(path.name))
            yield
        finally:
            lock.release()
        shutil.rmtree(self.within, ignore_errors=True)

    def is_own(self, path: Path) -> bool:
        """Whether this export wrote a file, or was killed when it did."""
        return str(path.relative_to(self.root)) in self.begun

    def are_done(self, paths: Iterable[Path]) -> bool:
        """Whether all of these files of the submission are whole and there."""
        return all(str(path) in self.done and (self.root / path).is_file() for path in paths)

    def begin(self, paths: Iterable[Path]) -> None:
        """These files are written next."""
        self.begun |= set(map(str, paths))
        self._write()

    def end(self, paths: Iterable[Path]) -> None:
        """They are whole."""
        self.done |= set(map(str, paths))
        self._write()

    def _write(self) -> None:
        content = {"version": self.version, "begun": sorted(self.begun), "done": sorted(self.done)}
        write_json(self.within / _NAME, content)
