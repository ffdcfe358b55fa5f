"""The JSON schema of the case file, for editors: pydantic's, with what only respeval's checks know.

It holds every case file that respeval takes, and refuses what can be seen in the file alone. A key
that is missing is no fault of the file: an option of the command line can give it. `years: true` is
refused, though pydantic takes it for 1.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from respeval.case.case import Case
from respeval.case.options import KEYS, NONE, keys_that_bear_on
from respeval.diagnostics import BUILT_IN_BOXES
from respeval.fields.grid import SURFACES
from respeval.fields.perturbation import BASELINE
from respeval.fields.variables import FORCING_ROLES

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_ABOUT = (
    "What a run of respeval reads, perturbs and diagnoses. Paths are relative to the file; options of "
    "the command line win over it."
)

_TRUTHS = ("true", "yes", "on", "y", "t", "1", "false", "no", "off", "n", "f", "0")
_SPELLINGS = {form: None for word in _TRUTHS for form in (word, word.upper(), word.title())}

#: Type -> what counts as a value of it too. YAML 1.1, which respeval reads, and 1.2, which editors
#: read, differ in what is a text: 1e-3 is one in 1.1, yes and off are in 1.2.
_TEXTS: dict[str, Schema] = {
    "number": {
        "type": "string",
        "pattern": r"^\s*[+-]?(\d[\d_]*\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$",
    },
    "integer": {"type": "string", "pattern": r"^\s*[+-]?\d[\d_]*(\.0+)?\s*$"},
    "boolean": {"enum": [0, 1, *_SPELLINGS]},
}

#: At most 100 letters, digits, '.', '_', '+' and '-'. Dialects differ in the letters beyond ASCII.
_LABEL = r"^[^\x00-\x2a\x2c\x2f\x3a-\x40\x5b-\x5e\x60\x7b-\x7f]{1,100}$"

_SEGMENT = r"^(month|year|all|\s*[1-9]\d*\s+steps?\s*)$"
_DURATION = rf"^({NONE}|\s*\d+\s+(year|month|day|step)s?\s*)$"
_TARGET = rf"^({NONE}|[^/].*:[^:]+)$"


def case_schema() -> Schema:
    """The schema, draft 2020-12, as plain values of JSON."""
    made: Schema = _lenient(Case.model_json_schema())
    properties: Schema = made["properties"]
    for key in KEYS:
        described = {"description": key.in_file or key.help, **properties[key.key]}
        properties[key.key] = _without_default(described) if _is_empty(described) else described
    for name, change in _CHANGES.items():
        change(properties[name])
    for kind in _kinds(made):
        kind["required"] = ["type", *kind["required"]]
    _describe_roles(made["$defs"]["RoleNames"]["properties"])
    made["$defs"] |= {f"{kind}_as_text": texts for kind, texts in _TEXTS.items()}
    head = {"$schema": DIALECT, "title": "Case file of respeval", "description": _ABOUT}
    body = {name: value for name, value in made.items() if name not in (*head, "required")}
    return {**head, **body, **_one_length()}


def _lenient(node: Any) -> Any:
    """A copy without what editors don't need, and with the texts that pydantic takes for numbers."""
    if isinstance(node, list):
        return [_lenient(part) for part in node]
    if not isinstance(node, dict):
        return node
    left_out = {"discriminator"} | ({"title"} if isinstance(node.get("title"), str) else set())
    kept = {name: _lenient(value) for name, value in node.items() if name not in left_out}
    told = {name: kept.pop(name) for name in ("description", "default") if name in kept}
    kind = kept.get("type")
    if isinstance(kind, str) and kind in _TEXTS:
        kept = {"anyOf": [kept, {"$ref": f"#/$defs/{kind}_as_text"}]}
    return {**told, **kept}


def _is_empty(described: Schema) -> bool:
    """Whether the default says nothing: no value, or none of its values."""
    default = described.get("default")
    values = default.values() if isinstance(default, dict) else [default]
    return default == [] or all(value is None for value in values)


def _without_default(described: Schema) -> Schema:
    return {name: value for name, value in described.items() if name != "default"}


def _kinds(made: Schema) -> list[Schema]:
    """The kinds of perturbations; each has `type`, which tells it from the others."""
    return [kind for kind in made["$defs"].values() if "type" in kind.get("properties", {})]


def _describe_roles(roles: Schema) -> None:
    for name, role in roles.items():
        role.pop("default")
        of_forcing = name in FORCING_ROLES
        role["description"] = (
            "A variable of the forcing files." if of_forcing else "An output of the checkpoint."
        )
    roles["column_temperature"]["description"] = "Outputs of the checkpoint, top to surface."


def _labelled(*taken: Collection[str]) -> Callable[[Schema], None]:
    """Names of a mapping's entries are labels, and none of those that are taken."""

    def change(described: Schema) -> None:
        names = sorted({BASELINE}.union(*taken))
        for form in described.get("anyOf", [described]):
            if form.get("type") == "object":
                form["propertyNames"] = {"pattern": _LABEL, "not": {"enum": names}}

    return change


def _bands(described: Schema) -> None:
    _labelled()(described)
    low, high = described["additionalProperties"]["prefixItems"]
    low["anyOf"][0] |= {"minimum": 0, "exclusiveMaximum": 90}
    high["anyOf"][0] |= {"exclusiveMinimum": 0, "maximum": 90}


def _text(pattern: str) -> Callable[[Schema], None]:
    """Its text is of this pattern."""

    def change(described: Schema) -> None:
        for form in described.get("anyOf", [described]):
            if form.get("type") == "string":
                form["pattern"] = pattern

    return change


def _sst_boxes(described: Schema) -> None:
    _labelled(BUILT_IN_BOXES)(described)
    _or(described, {"type": "null"})


def _until(described: Schema) -> None:
    described["items"]["pattern"] = _TARGET
    _or(described, {"type": "string", "pattern": _TARGET}, {"type": "null"})


def _or(described: Schema, *others: Schema) -> None:
    """Take what is described, or one of the others."""
    own = {name: described.pop(name) for name in list(described) if name != "description"}
    described["anyOf"] = [own, *others]


#: Key -> what `Case` checks beyond its type.
_CHANGES: dict[str, Callable[[Schema], None]] = {
    "perturbations": _labelled(),
    "bands": _bands,
    "land_boxes": _labelled(SURFACES),
    "sst_boxes": _sst_boxes,
    "segment": _text(_SEGMENT),
    "spinup": _text(_DURATION),
    "until": _until,
}


def _one_length() -> Schema:
    """No two of the keys that say how long a run is; an option can say it, so there may be none."""
    given = [
        {"required": [name], "properties": {name: {"not": {"type": "null"}}}}
        for name in keys_that_bear_on("length")
    ]
    pairs = [{"allOf": [one, other]} for i, one in enumerate(given) for other in given[i + 1 :]]
    return {"not": {"anyOf": pairs}}
