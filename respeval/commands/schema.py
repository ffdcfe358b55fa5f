"""What `respeval schema` does: print the JSON schema of the case file, or write it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from respeval.case.schema import case_schema
from respeval.errors import InputError
from respeval.files.publish import make_folder, write_text


def show_schema(output: Path | None) -> None:
    """`respeval schema`. Raises InputError where a file is asked for that can't be written."""
    text = json.dumps(case_schema(), indent=2, ensure_ascii=False) + "\n"
    if output is None:
        sys.stdout.write(text)
        return
    if output.is_dir():
        raise InputError(
            f"{output} is a folder; name the file, for example {output}/case.schema.json"
        )
    make_folder(output.parent)
    write_text(output, text)
