"""What makes a run this run, and how another one in its folder differs from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from respeval.case.options import KEY, KEYS, BearsOn, keys_that_bear_on
from respeval.run_folder.manifest import READ

#: What must be the same for the samples of two runs to be the same: keys of the manifest and of the
#: forcing, beside those of the case that bear on samples.
_SAMPLING = ("num_samples", "num_steps", "timestep_s", "calendar", "initial_condition_sha256")
_SAMPLING_OF_FORCING = ("first_time", "last_time", "files")


def differences(manifest: Mapping[str, Any], header: Mapping[str, Any], extend: bool) -> list[str]:
    """How the run of a manifest differs from the one that `header` describes: `key old -> new`.

    extend: whether the new run may be longer and its forcing may have more times and files.
    """
    ignored = keys_that_bear_on("afterwards")
    if extend:
        ignored += keys_that_bear_on("length")
    found = list(_case_differences(manifest, header, ignored))
    for key in (
        "checkpoint_sha256",
        "initial_condition_sha256",
        "patterns_sha256",
        "land_boxes_sha256",
    ):
        old, new = manifest.get(key), header.get(key)
        if old != new:
            name = key.removesuffix("_sha256").replace("_", " ")
            found.append(f"contents of the {name} {_short(old)} -> {_short(new)}")
    found.extend(_forcing_differences(manifest.get("forcing"), header.get("forcing"), extend))
    return found


def is_only_longer(manifest: Mapping[str, Any], header: Mapping[str, Any]) -> bool:
    """Whether the two runs differ in nothing but their length, and the new one is longer."""
    old, new = manifest.get("num_steps"), header.get("num_steps")
    longer = isinstance(old, int) and isinstance(new, int) and new > old
    return longer and not differences(manifest, header, extend=True)


def other_noise(manifest: Mapping[str, Any], header: Mapping[str, Any]) -> str | None:
    """How two runs, by their manifests, draw their noise otherwise: `old -> new`; None where they don't.

    Runs of deterministic emulators name no noise; those of an earlier respeval never did.
    """
    old, new = manifest.get("noise"), header.get("noise")
    if old == new:
        return None
    return f"{_shown(old or 'unnamed')} -> {_shown(new)}"


def other_samples(first: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Why the samples of two runs, by their manifests, are not the same: nothing where they are.

    The checkpoints may be different; starts, period, forcing and noise must not.
    """
    fields = _other_fields(first, other)
    parts: list[tuple[Mapping[str, Any], Mapping[str, Any], tuple[str, ...], str]]
    parts = [(first, other, _SAMPLING, "")]
    for part in ("case", "forcing"):
        own, its = first.get(part), other.get(part)
        if not isinstance(own, Mapping) or not isinstance(its, Mapping):
            return [f"a manifest names no {part}"]
        if part == "case":
            parts.append((own, its, _keys_of(own, its, "samples"), ""))
        elif fields is None:
            parts.append((own, its, _SAMPLING_OF_FORCING, "the forcing's "))
    found = [
        f"{prefix}{key.removesuffix('_sha256').replace('_', ' ')}"
        + ("" if key.endswith("_sha256") or key == "files" else f" {_shown(a)} -> {_shown(b)}")
        for own, its, keys, prefix in parts
        for key in keys
        if (a := own.get(key)) != (b := its.get(key))
    ]
    return found + (fields or [])


def _other_fields(first: Mapping[str, Any], other: Mapping[str, Any]) -> list[str] | None:
    """Of the forcing's fields that both runs kept a fingerprint of the variables that differ; None
    where there are none, as in runs of an earlier respeval."""
    own, its = (dict(_flat(manifest.get(READ) or {})) for manifest in (first, other))
    both = own.keys() & its.keys()
    if not both:
        return None
    changed = sorted({key.partition(".")[2] for key in both if own[key] != its[key]})
    return [f"the forcing's {', '.join(changed)}"] if changed else []


def other_definitions(first: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """What the diagnostics of two runs, by their manifests, have differently defined."""
    own, its = ((m.get("case") or {}) for m in (first, other))
    known = {key.key: key.before for key in KEYS}
    found = [
        f"{key} {_shown(ours)} -> {_shown(theirs)}"
        for key in _keys_of(own, its, "definitions")
        if (ours := own.get(key, known[key])) != (theirs := its.get(key, known[key]))
    ]
    before, after = ((case.get("perturbations") or {}) for case in (own, its))
    for label in [label for label in before if label in after]:
        same = dict(_flat(before[label])) == dict(_flat(after[label]))
        patterns = "file" in before[label] and (
            first.get("patterns_sha256") != other.get("patterns_sha256")
        )
        if not same or patterns:
            found.append(f"{label} is another perturbation")
    return found


def _keys_of(own: Mapping[str, Any], its: Mapping[str, Any], what: BearsOn) -> tuple[str, ...]:
    """Keys of two cases that bear on something, in the cases' order."""
    return tuple(key for key in {**own, **its} if key in KEY and KEY[key].bears_on == what)


def _case_differences(
    manifest: Mapping[str, Any], header: Mapping[str, Any], ignored: tuple[str, ...]
) -> Iterator[str]:
    old, new = manifest.get("case"), header.get("case")
    if not isinstance(old, dict) or not isinstance(new, dict):
        if manifest.get("case_digest") != header.get("case_digest"):
            yield "its case digest"
        return
    known = {key.key: key.before for key in KEYS if key.before is not None}
    before, after = ({**known, **dict(_flat(case))} for case in (old, new))
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) != after.get(key) and key.partition(".")[0] not in ignored:
            yield f"{key} {_shown(before.get(key))} -> {_shown(after.get(key))}"


def _forcing_differences(old: Any, new: Any, extend: bool) -> Iterator[str]:
    if not isinstance(old, dict) or not isinstance(new, dict):
        return
    for key in ("variables", "first_time") if extend else ("variables", "first_time", "last_time"):
        if old.get(key) != new.get(key):
            what = f"the forcing's {key.replace('_', ' ')}"
            yield f"{what} {_shown(old.get(key))} -> {_shown(new.get(key))}"
    before, after = old.get("files") or {}, new.get("files") or {}
    if not isinstance(before, dict):
        yield "the forcing's files"
        return
    for name in sorted(before.keys() | after.keys()):
        size, now = before.get(name, "none"), after.get(name, "none")
        grown = type(size) is int and type(now) is int and now > size
        if size != now and not (extend and (name not in before or grown)):
            yield f"size of {name} {_shown(size)} -> {_shown(now)}"


def _flat(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _shown(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _short(digest: Any) -> str:
    return str(digest)[:12]
