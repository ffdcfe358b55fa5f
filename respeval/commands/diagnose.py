"""`respeval diagnose`: diagnostics of a finished run, and what every diagnostic is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from respeval.case.options import KEY, read_options
from respeval.errors import InputError


def list_diagnostics() -> None:
    """`respeval diagnose --list`."""
    from respeval.diagnostics import STATISTICS, catalog
    from respeval.presentation.console.catalog import catalog_text
    from respeval.presentation.console.json_output import answer, catalog_content
    from respeval.presentation.console.terminal import make_console

    console = make_console()
    console.print(catalog_text(catalog(), STATISTICS, console.width), highlight=False)
    answer(lambda: catalog_content(catalog(), STATISTICS))


def diagnose_folder(
    folder: Path | None,
    given: Mapping[str, Any],
    everything: bool,
    asks_for_boxes: bool,
    *,
    literature: bool = True,
) -> None:
    """Analyse a finished run anew, and show its table.

    given: values of the options of bands, tropics, boxes of SST, roles and reference. everything: whether
    to show every diagnostic. literature: whether to tell what is published of
    models. Raises InputError in one line.
    """
    if folder is None:
        raise InputError("no folder is given: name that of a finished run, or ask for --list")
    if asks_for_boxes:
        raise InputError(
            "--land-box is an option of respeval run: the means over a box are taken while a run goes "
            "on, its files keep maps of all samples together; run again with it into another folder"
        )
    from respeval.files.lock import ANALYSIS_LOCK, FolderLock
    from respeval.run_folder.manifest import read_manifest, verification_of

    read_manifest(folder)  # told is what is no folder of a run, before anything is written into it
    own_turn = FolderLock(folder, ANALYSIS_LOCK).held()
    with own_turn, verification_of(folder, num_cores_kept=1) as verification:
        from respeval.analysis.folder import settings_of_folder, sources_of_folder
        from respeval.analysis.results import analyse
        from respeval.presentation.console.json_output import answer, run_content
        from respeval.presentation.console.tables import show_table
        from respeval.run_folder.sweep import Status

        definitions = (KEY["bands"], KEY["tropical_lat_max"], KEY["roles"], KEY["sst_boxes"])
        settings = settings_of_folder(folder, read_options(definitions, given))
        sources = sources_of_folder(folder, read_options([KEY["reference"]], given))
        found = analyse(folder, settings, sources=sources, verification=verification)
    shown = settings if everything else None
    show_table(folder, shown, found.diagnostics, literature=literature)
    answer(lambda: run_content(folder, Status.FINISHED))
