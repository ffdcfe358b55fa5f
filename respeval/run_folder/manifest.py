"""The manifest of a run's folder: what it holds, and whether that is as it was written."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from respeval.errors import InputError
from respeval.files.checksums import Checksums, Verification
from respeval.files.text import parse_json, read_document
from respeval.run_folder.names import GROUP_MEANS, MANIFEST, SEGMENTS, ZONAL

#: What a run that is finished has beside its segments; made of them, and made again if missing.
RESULTS = (ZONAL, GROUP_MEANS)

#: Number of the segment, or of the first and the last one; then the date of the first.
SEGMENT_NAME = re.compile(r"(\d{5,9})(?:-(\d{5,9}))?_(-?\d{4,6}-\d\d-\d\d)\.nc")


def segment_numbers(file: str) -> tuple[int, int]:
    """Numbers of the first and the last segment in a file `segments/…`.

    Raises ValueError where the name is not one that a run gives.
    """
    found = parts_of_name(file)
    first = int(found[1])
    return first, int(found[2] or first)


def parts_of_name(file: str) -> re.Match[str]:
    folder, _, name = str(file).partition("/")
    found = SEGMENT_NAME.fullmatch(name)
    if found is None or folder != SEGMENTS:
        raise ValueError(f"{file!r} is no name of a segment's file")
    return found


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a run's folder. Raises InputError where there is none."""
    path = folder / MANIFEST
    if not path.exists():
        raise InputError(f"{folder} is no folder of a run: it has no {MANIFEST}")
    try:
        content = parse_json(read_document(path, "manifest"))
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} can't be read ({error}); see --restart-fresh") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} is no manifest: expected a JSON object")
    return content


def verify_folder(folder: Path) -> None:
    """Hold a run's segments and results against the manifest's checksums.

    Raises InputError that names the files which are damaged or missing.
    """
    with verification_of(folder) as verification:
        verification.finish()


def verification_of(folder: Path, num_cores_kept: int = 0) -> Verification:
    """Begin to hold a run's segments and results against the manifest's checksums.

    num_cores_kept: for other work meanwhile.
    Raises InputError where the manifest can't be read.
    """
    manifest = read_manifest(folder)
    results = manifest.get("results", {})
    known = isinstance(results, dict) and results.keys() <= set(RESULTS)
    if not known or (manifest.get("status") == "finished" and len(results) < len(RESULTS)):
        raise InputError(
            f"{folder / MANIFEST}: its results can't be read; give the run's command again"
        )
    advice = "remove it and give the run's command again, which makes it anew from the segments"
    parts = [checksums_of_segments(read_segments(folder, manifest)), Checksums(results, advice)]
    return Verification(folder, parts, RESULTS, num_cores_kept)


def checksums_of_segments(entries: Sequence[Mapping[str, Any]]) -> Checksums:
    """The checksums in these entries of a manifest."""
    return Checksums(
        {entry["file"]: entry["sha256"] for entry in entries},
        "it can't be made anew from other files; start over with --restart-fresh",
    )


def read_segments(folder: Path, manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The manifest's entries of segments. Raises InputError where they make no sense."""
    entries, step = manifest.get("segments"), 0
    try:
        for entry in entries:  # type: ignore[union-attr]
            segment_numbers(entry["file"])
            if entry["first_step"] != step:
                raise ValueError
            step = entry["stop_step"]
            if type(step) is not int or step <= entry["first_step"]:
                raise ValueError
            if not isinstance(entry["spinup"], bool) or not isinstance(entry["sha256"], str):
                raise ValueError
        names = [entry["file"] for entry in entries]  # type: ignore[union-attr]
        if len(set(names)) < len(names):
            raise ValueError
        return list(entries)  # type: ignore[arg-type]
    except (TypeError, KeyError, ValueError):
        raise InputError(f"{folder / MANIFEST}: its segments can't be read") from None


#: Of a manifest: the first fault of each sample that counts no more, and of each perturbation that
#: does not, and of every member.
QUARANTINE = ("quarantined", "quarantined_groups", "faults")


def read_quarantine(folder: Path, manifest: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """What blew up, as a manifest names it, see `QUARANTINE`. Raises InputError where it makes no sense."""
    return {key: _read_faults(folder, manifest.get(key, [])) for key in QUARANTINE}


def read_quarantined(folder: Path, manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The samples that blew up, as a manifest names them. Raises InputError where it makes no sense."""
    return _read_faults(folder, manifest.get("quarantined", []))


def read_left_out(folder: Path, manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The perturbations that blew up in every sample, likewise: the first fault of each."""
    return _read_faults(folder, manifest.get("quarantined_groups", []))


def _read_faults(folder: Path, entries: Any) -> list[dict[str, Any]]:
    try:
        for entry in entries:
            if set(entry) != {"sample", "group", "variable", "step", "date", "limits"}:
                raise TypeError
            if any(type(entry[key]) is not int or entry[key] < 0 for key in ("sample", "step")):
                raise TypeError
            if not all(
                isinstance(entry[key], str) for key in ("group", "variable", "date", "limits")
            ):
                raise TypeError
        return [dict(entry) for entry in entries]
    except (TypeError, KeyError):
        raise InputError(f"{folder / MANIFEST}: its quarantined samples can't be read") from None


#: Of a manifest: under which versions a run went on from which step, of which segment, on.
VERSIONS = "versions_by_segments"


def read_versions(folder: Path, manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of each range of segments the `versions`, and where it begins, `from_step` and `from_segment`.

    Raises InputError where it makes no sense. Earlier respevals told the last versions alone.
    """
    entries = manifest.get(VERSIONS)
    if entries is None:
        versions = manifest.get("versions")
        entries = [{"from_step": 0, "from_segment": 1, "versions": versions}] if versions else []
    try:
        for entry in entries:
            if any(type(entry[key]) is not int for key in ("from_step", "from_segment")):
                raise TypeError
            if not all(isinstance(version, str) for version in entry["versions"].values()):
                raise TypeError
        return [dict(entry) for entry in entries]
    except (TypeError, KeyError, AttributeError, ValueError):
        raise InputError(f"{folder / MANIFEST}: its versions can't be read") from None


def read_warnings(folder: Path, manifest: Mapping[str, Any]) -> list[str]:
    """What a run warned of, by its manifest. Raises InputError where it makes no sense."""
    texts = manifest.get("warnings", [])
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise InputError(f"{folder / MANIFEST}: its warnings can't be read")
    return list(texts)


#: Of a manifest: by step of the first sample and by variable the SHA-256 of what was read.
READ = "forcing_fields_sha256"


def read_fingerprints(folder: Path, manifest: Mapping[str, Any]) -> dict[int, dict[str, str]]:
    """See `READ`; nothing of runs of an earlier respeval. Raises InputError where it makes no sense."""
    try:
        kept = {
            int(step): {str(name): str(sha) for name, sha in found.items()}
            for step, found in manifest.get(READ, {}).items()
        }
    except (ValueError, AttributeError):
        raise InputError(f"{folder / MANIFEST}: its {READ} can't be read") from None
    return kept


def read_measured(folder: Path, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What a manifest keeps of measurements before the run. Raises InputError where it makes no sense."""
    measured = manifest.get("measured", {})
    if not isinstance(measured, dict):
        raise InputError(f"{folder / MANIFEST}: what it says was measured can't be read")
    return measured
