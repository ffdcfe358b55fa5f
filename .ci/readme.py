"""The README as a package index shows it: without what needs the repository beside it.

Hatchling calls it when it builds respeval (`make package`). An index has no files of the repository:
images go with their captions, and links to pages become their texts. Addresses stay.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

#: Where a link or an image leads that is no address.
_FILE = r"(?!https?://|mailto:|#)[^)\s]+"

#: A paragraph of images, markdown's or HTML's, and its caption: a paragraph in italics.
_IMAGE = rf"(?:!\[[^\]]*\]\({_FILE}\)|<img\b[^>]*>)"
_FIGURE = re.compile(rf"^(?:{_IMAGE}\s*)+?\n\n(?:\*(?!\*)(?:[^\n]+\n)+\n)?", re.MULTILINE)

_LINK = re.compile(rf"\[([^\]]+)\]\({_FILE}\)")


def for_an_index(readme: str) -> str:
    """The README without images, and without links to files of the repository."""
    return _LINK.sub(r"\1", re.sub(_IMAGE, "", _FIGURE.sub("", readme)))


class ReadmeHook(MetadataHookInterface):
    """Sets the package's long description."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Give the project its readme."""
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": for_an_index(text)}
