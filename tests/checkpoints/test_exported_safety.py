"""Archives that would run code, each a real attack on torch.export.load: nothing of them runs."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from respeval.checkpoints import open_checkpoint
from respeval.checkpoints.exported.operators import is_allowed, is_plain_expression
from respeval.checkpoints.exported.reader import save_exported
from respeval.errors import InputError
from tests.support import studies
from tests.support.archives import Members, edit, members_of, write_archive
from tests.support.invoking import invoke, refused
from tests.support.studies import GRID

MODEL = "models/model.json"
WEIGHTS = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"
SAMPLES = "data/sample_inputs/model.pt"


class Small(torch.nn.Module):
    """A network with a weight, a constant and sizes that depend on the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = torch.nn.Conv2d(5, 4, 1)
        self.gain = torch.ones(1)

    def forward(self, fields: torch.Tensor) -> torch.Tensor:
        mixed = self.mix(fields) * self.gain
        num_fields = 4 * fields.shape[0]
        return mixed.reshape(num_fields, *GRID.shape).reshape(mixed.shape)


class MakesFolder:
    """Unpickling this makes a folder, and gives a tensor."""

    def __init__(self, target: str) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        code = f"__import__('os').makedirs({self.target!r}, exist_ok=True) or __import__('torch').ones(1)"
        return eval, (code,)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("good") / "good.pt2"
    save_exported(path, Small(), studies.export_manifest())
    return path


def changed(good: Path, folder: Path, change: Callable[[Members, str], None], target: Path) -> Path:
    """A copy of the good archive with its manifest, changed to make the folder `target`."""
    members = members_of(good)
    change(members, str(target))
    path = folder / "model.pt2"
    write_archive(path, members)
    path.with_suffix(".json").write_text(good.with_suffix(".json").read_text())
    return path


def pickled(target: str) -> bytes:
    buffer = io.BytesIO()
    torch.save({"state": MakesFolder(target)}, buffer)
    return buffer.getvalue()


def nodes(program: Any) -> Any:
    return program["graph_module"]["graph"]["nodes"]


# --- what an attacker writes -------------------------------------------------------------------


def weight_pickle(members: Members, target: str) -> None:
    def change(config: Any) -> None:
        config["config"]["mix.weight"] |= {"use_pickle": True, "path_name": "weight_9"}

    edit(members, WEIGHTS, change)
    members["data/weights/weight_9"] = pickled(target)


def constant_pickle(members: Members, target: str) -> None:
    def change(config: Any) -> None:
        config["config"]["gain"] |= {"use_pickle": True, "path_name": "tensor_9"}

    edit(members, CONSTANTS, change)
    members["data/constants/tensor_9"] = pickled(target)


def opaque_object(members: Members, target: str) -> None:
    def change(config: Any) -> None:
        entry = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": True}
        config["config"]["extra"] = {**entry, "tensor_meta": None}

    edit(members, CONSTANTS, change)
    members["data/constants/opaque_obj_0"] = pickle.dumps(MakesFolder(target))


def legacy_weights(members: Members, target: str) -> None:
    members["data/weights/model.pt"] = pickled(target)


def legacy_weights_alone(members: Members, target: str) -> None:
    legacy_weights(members, target)
    del members[WEIGHTS]


def sample_inputs(members: Members, target: str) -> None:
    members[SAMPLES] = pickled(target)


def guard(members: Members, target: str) -> None:
    code = f"__import__('os').makedirs({target!r}) is None"
    edit(members, MODEL, lambda program: program.update(guards_code=[code]))


def size_expression(members: Members, target: str) -> None:
    code = f"__import__('os').makedirs({target!r}, exist_ok=True) or 8"

    def change(program: Any) -> None:
        meta = next(iter(program["graph_module"]["graph"]["tensor_values"].values()))
        meta["sizes"][0] = {"as_expr": {"expr_str": code, "hint": {"as_int": 8}}}

    edit(members, MODEL, change)


def call_of(function: str) -> Callable[[Members, str], None]:
    def attack(members: Members, target: str) -> None:
        def change(program: Any) -> None:
            call = {
                "target": function,
                "inputs": [{"name": "", "arg": {"as_string": target}, "kind": 1}],
                "outputs": [{"as_none": True}],
                "metadata": {},
                "name": "harmless",
            }
            nodes(program).insert(0, call)

        edit(members, MODEL, change)

    return attack


class Gain(torch.nn.Module):
    def forward(self, fields: torch.Tensor) -> torch.Tensor:
        return torch.multiply(torch.ones(1), fields)[:, :4]


def name_of_a_value(members: Members, target: str) -> None:
    """The name of an input becomes a parameter with a default, and later a target of assignments."""
    path = Path(target).with_name("gain.pt2")
    save_exported(path, Gain(), studies.export_manifest())
    members.update(members_of(path))
    code = f"fields=[0][__import__('os').makedirs({target!r}, exist_ok=True) or 0]"
    text = members[MODEL].decode().replace('"name": "fields"', f'"name": {json.dumps(code)}')
    members[MODEL] = text.encode()

    def rename(program: Any) -> None:
        values = program["graph_module"]["graph"]["tensor_values"]
        values[code] = values.pop("fields")

    edit(members, MODEL, rename)


def name_of_a_weight(members: Members, target: str) -> None:
    """The name of a weight becomes a text in Python source."""
    code = f'mix", [getattr(__import__("os"), "makedirs")("{target}", exist_ok=True)] and "'
    for member in (MODEL, WEIGHTS):
        text = members[member].decode()
        members[member] = text.replace('"mix.weight"', json.dumps(f"{code}.weight")).encode()


def keyword_of_a_region(members: Members, target: str) -> None:
    """The name of a keyword argument is written into the source as it is."""
    code = f"x=__import__('os').makedirs({target!r}, exist_ok=True), y"

    def change(program: Any) -> None:
        call = {
            "target": "torch.ops.higher_order.wrap_with_set_grad_enabled",
            "inputs": [{"name": code, "arg": {"as_bool": True}, "kind": 2}],
            "outputs": [{"as_none": True}],
            "metadata": {},
            "name": "region",
        }
        nodes(program).insert(0, call)

    edit(members, MODEL, change)


#: name, change, what the refusal says (None: it opens, and the attack is left out)
ATTACKS: list[tuple[str, Callable[[Members, str], None], str | None]] = [
    ("weight", weight_pickle, r"mix\.weight is a pickled object \(weight_9\)"),
    ("constant", constant_pickle, r"gain is a pickled object \(tensor_9\)"),
    ("opaque object", opaque_object, r"extra is a pickled object \(opaque_obj_0\)"),
    ("legacy weights", legacy_weights, None),
    ("legacy weights alone", legacy_weights_alone, "lacks data/weights/model_weights_config.json"),
    ("sample inputs", sample_inputs, None),
    ("guard", guard, None),
    ("size", size_expression, r"is no plain arithmetic of sizes"),
    ("name of a value", name_of_a_value, "is no plain name"),
    ("name of a weight", name_of_a_weight, "is no plain name"),
    ("name of a keyword", keyword_of_a_region, "is no plain name"),
]


def run_as_torch_would(path: Path) -> None:
    """What a script does with an archive that it trusts; attacks may end it with any error."""
    with contextlib.suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = torch.export.load(str(path)).module()
        network(torch.zeros(2, 5, *GRID.shape))


@pytest.mark.parametrize(
    ("change", "message"), [a[1:] for a in ATTACKS], ids=[a[0] for a in ATTACKS]
)
def test_an_archive_that_would_run_code_does_not(
    good: Path, tmp_path: Path, change: Callable[[Members, str], None], message: str | None
) -> None:
    target = tmp_path / "harm"
    path = changed(good, tmp_path, change, target)
    if message is None:
        emulator = open_checkpoint(path, {})
        assert torch.equal(step(emulator), step(open_checkpoint(good, {})))
    else:
        with pytest.raises(InputError, match=message) as found:
            open_checkpoint(path, {})
        assert "\n" not in str(found.value)
        assert str(path) in str(found.value)
    assert not target.exists()
    run_as_torch_would(path)
    assert target.exists(), "this is no attack at all"


def step(emulator: Any) -> torch.Tensor:
    state = 280 + torch.arange(3.0 * GRID.num_lat * GRID.num_lon).reshape(1, 3, *GRID.shape) % 7
    forcing = torch.ones(1, 3, *GRID.shape)
    with torch.no_grad():
        result: torch.Tensor = emulator.step(state, forcing, forcing, None)
    return result


def test_trust_opens_what_was_refused_and_runs_it(good: Path, tmp_path: Path) -> None:
    target = tmp_path / "harm"
    path = changed(good, tmp_path, weight_pickle, target)
    with pytest.raises(InputError, match="--trust-checkpoint opens it all the same"):
        open_checkpoint(path, {})
    with pytest.raises(InputError, match="can't read this program"):  # the pickle is no weight
        open_checkpoint(path, {}, trust=True)
    assert target.exists()


class Inverts(torch.nn.Module):
    """Calls an operator that respeval's list does not have."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = torch.nn.Parameter(2 * torch.eye(5))

    def forward(self, fields: torch.Tensor) -> torch.Tensor:
        return torch.einsum("bchw,cd->bdhw", fields, torch.linalg.inv(self.matrix))[:, :4]


def test_an_operator_that_is_not_listed_needs_trust(tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    save_exported(path, Inverts(), studies.export_manifest())
    with pytest.raises(
        InputError, match=r"it calls torch\.ops\.aten\.linalg_inv.*--trust-checkpoint"
    ):
        open_checkpoint(path, {})
    trusted = step(open_checkpoint(path, {}, trust=True))
    assert torch.isfinite(trusted).all()


def test_every_command_takes_trust_and_none_assumes_it(tmp_path: Path) -> None:
    study = studies.write_study(tmp_path, days=2)
    path = tmp_path / "model.pt2"
    save_exported(path, Inverts(), studies.export_manifest())
    data = ("--data", study.parent / "forcing.nc")
    for command, more in (
        ("inspect", ()),
        ("run", ("-o", "a")),
        ("gradient-probe", (*data, "-o", "b")),
    ):
        arguments = [command, path, *(tmp_path / m if m in "ab" else m for m in map(str, more))]
        assert "linalg_inv" in refused(*arguments)
        if command == "gradient-probe":
            assert "no spectral filter that" in refused(*arguments, "--trust-checkpoint")
        else:
            invoke(*arguments, "--trust-checkpoint")


@pytest.mark.parametrize(
    "target",
    [
        "torch.ops.aten.from_file.default",
        "torch.ops.aten.resize_.default",
        "torch.ops.aten.set_.source_Storage",
        "torch.ops.aten.save.default",
        "torch.ops.aten.item.default",
        "torch.ops.custom.add.Tensor",
        "torch.ops.aten.add",
        "torch.ops.aten.add.Tensor.__class__",
        "torch.ops.aten.__class__.default",
        "torch.ops.aten._unsafe_index.Tensor",
        "torch.ops.higher_order.cond",
        "_operator.methodcaller",
        "_operator.pow",
        "operator.add",
        "torch.load",
        "math.factorial",
        "#extension:op",
        "eval",
        "",
    ],
)
def test_only_listed_operators_are_called(target: str) -> None:
    assert not is_allowed(target)


@pytest.mark.parametrize(
    "target",
    ["torch.ops.aten.add.Tensor", "torch.ops.aten.add_.Tensor", "torch.ops.aten._softmax.default"],
)
def test_operators_of_networks_are_called(target: str) -> None:
    assert is_allowed(target)


def test_every_listed_operator_is_one_of_torch() -> None:
    from respeval.checkpoints.exported import operators

    missing = [n for n in operators._ATEN_NAMES if not hasattr(torch.ops.aten, n)]
    assert missing == []


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Symbol('s77', positive=True, integer=True)", True),
        ("Mul(Integer(4), Symbol('s0', positive=True, integer=True))", True),
        ("FloorDiv(Add(Symbol('s0'), Integer(-1)), Integer(2))", True),
        ("s0", True),
        ("Symbol('s0').__class__", False),
        ("Symbol(name='s0')", False),
        ("Symbol('os')", False),
        ("Symbol('s0', positive=1)", False),
        ("Symbol(Symbol('s0'))", False),
        ("Integer(2**2**100)", False),
        ("Integer(True)", False),
        ("Integer(100000000000000000000)", False),
        ("Pow(Integer(9), Integer(9))", False),
        ("Mul(*[1])", False),
        ("Mul()", False),
        ("eval('1')", False),
        ("os", False),
        ("[].append(1)", False),
        ("lambda: 0", False),
        ("(s0 := 3)", False),
        ("f'{s0}'", False),
        ("s0 + 1", False),
        ("'s0'", False),
        ("", False),
        ("s0\n", True),
        ("(" * 200, False),
        ("Add(" * 400 + "s0" + ")" * 400, False),
    ],
)
def test_sizes_are_arithmetic(text: str, plain: bool) -> None:
    assert is_plain_expression(text) is plain


def huge_tensor(members: Members, target: str) -> None:
    def change(config: Any) -> None:
        config["config"]["mix.weight"]["tensor_meta"]["sizes"][0] = {"as_int": 10**12}

    edit(members, WEIGHTS, change)


def empty_record(members: Members, target: str) -> None:
    huge_tensor(members, target)
    members["data/weights/weight_0"] = b""


def negative_offset(members: Members, target: str) -> None:
    def change(config: Any) -> None:
        config["config"]["mix.weight"]["tensor_meta"]["storage_offset"] = {"as_int": -1}

    edit(members, WEIGHTS, change)


def path_outside(members: Members, target: str) -> None:
    def change(config: Any) -> None:
        config["config"]["mix.weight"]["path_name"] = "../constants/tensor_0"

    edit(members, WEIGHTS, change)


def many_counters(members: Members, target: str) -> None:
    constraint = {"u99999999999": {"min_val": 0, "max_val": None}}
    edit(members, MODEL, lambda program: program["range_constraints"].update(constraint))


def operator_argument(members: Members, target: str) -> None:
    def change(program: Any) -> None:
        nodes(program)[0]["inputs"][0]["arg"] = {"as_operator": "torch.os.mkdir"}

    edit(members, MODEL, change)


def custom_object(members: Members, target: str) -> None:
    def change(program: Any) -> None:
        value = {"name": "theirs", "class_fqn": "__torch__.theirs.Tokenizer"}
        nodes(program)[0]["inputs"][0]["arg"] = {"as_custom_obj": value}

    edit(members, MODEL, change)


def drop(name: str) -> Callable[[Members, str], None]:
    return lambda members, target: members.pop(name) and None


def put(name: str, content: bytes) -> Callable[[Members, str], None]:
    return lambda members, target: members.update({name: content})


FAULTS: list[tuple[str, Callable[[Members, str], None], str]] = [
    ("huge tensor", huge_tensor, "mix.weight has .* bytes, its shape .* needs more"),
    ("empty record", empty_record, "mix.weight has 0 bytes"),
    ("negative offset", negative_offset, "mix.weight has an impossible shape"),
    ("path outside", path_outside, "path_name"),
    ("many counters", many_counters, "'u99999999999' is no size"),
    ("operator argument", operator_argument, "it needs an operator that another one calls"),
    (
        "function",
        call_of("torch.os.mkdir"),
        r"calls torch\.os\.mkdir, which respeval does not know",
    ),
    (
        "function of a module",
        call_of("torch.serialization.os.mkdir"),
        r"calls torch\.serialization\.os\.mkdir",
    ),
    ("custom object", custom_object, r"it needs a custom object \(__torch__\.theirs\.Tokenizer\)"),
    ("no program", drop(MODEL), "holds no exported program"),
    ("no numbers", drop("data/weights/weight_0"), "lacks data/weights/weight_0"),
    ("deep JSON", put(MODEL, b"[" * 100_000), "models/model.json is no JSON"),
    ("no object", put(MODEL, b"[]"), "models/model.json holds no JSON object"),
    ("other bytes", put("byteorder", b"big"), "machine with another order of bytes"),
    ("no format", put("archive_format", b"zip"), "can't read this program"),
]


@pytest.mark.parametrize(("change", "message"), [f[1:] for f in FAULTS], ids=[f[0] for f in FAULTS])
def test_faulty_archives_are_refused_in_one_line(
    good: Path, tmp_path: Path, change: Callable[[Members, str], None], message: str
) -> None:
    path = changed(good, tmp_path, change, tmp_path / "harm")
    with pytest.raises(InputError, match=message) as found:
        open_checkpoint(path, {})
    assert "\n" not in str(found.value)
    assert str(path) in str(found.value)


def test_compressed_archives_are_refused_before_they_are_unpacked(
    good: Path, tmp_path: Path
) -> None:
    path = tmp_path / "model.pt2"
    members = members_of(good) | {"data/weights/weight_0": bytes(10**8)}
    write_archive(path, members, zipfile.ZIP_DEFLATED)
    path.with_suffix(".json").write_text(good.with_suffix(".json").read_text())
    assert path.stat().st_size < 10**6
    with pytest.raises(InputError, match="is compressed"):
        open_checkpoint(path, {})


def test_a_member_that_is_there_twice_is_refused(good: Path, tmp_path: Path) -> None:
    path = changed(good, tmp_path, lambda members, target: None, tmp_path / "harm")
    with zipfile.ZipFile(path, "a") as opened, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        opened.writestr(f"archive/{MODEL}", b"{}")
    with pytest.raises(InputError, match="has two members named models/model.json"):
        open_checkpoint(path, {})


def test_members_larger_than_the_file_are_refused(good: Path, tmp_path: Path) -> None:
    """Members that share their bytes: a few of them could fill the memory."""
    path = changed(good, tmp_path, put("data/weights/weight_7", bytes(10_000)), tmp_path / "harm")
    with zipfile.ZipFile(path, "a") as opened:
        shared = opened.getinfo("archive/data/weights/weight_7")
        for i in range(100):
            again = zipfile.ZipInfo(f"archive/data/weights/weight_{100 + i}")
            for field in ("header_offset", "CRC", "compress_size", "file_size", "compress_type"):
                setattr(again, field, getattr(shared, field))
            opened.filelist.append(again)
            opened.NameToInfo[again.filename] = again
        opened._didModify = True
    with pytest.raises(InputError, match="said to be larger than the file"):
        open_checkpoint(path, {})


def test_files_that_are_no_archives(good: Path, tmp_path: Path) -> None:
    manifest = good.with_suffix(".json").read_text()
    whole = good.read_bytes()
    for content in (b"", b"hello", whole[:-200], whole[: len(whole) // 2]):
        path = tmp_path / "model.pt2"
        path.write_bytes(content)
        path.with_suffix(".json").write_text(manifest)
        with pytest.raises(InputError, match="is no whole archive|holds no exported program"):
            open_checkpoint(path, {})
    broken = bytearray(whole)
    at = whole.index(b'"graph_module"')
    broken[at] = 0
    path.write_bytes(bytes(broken))
    with pytest.raises(InputError, match=r"is no whole archive of torch\.export \(Bad CRC"):
        open_checkpoint(path, {})


def test_archives_of_other_kinds_are_named(good: Path, tmp_path: Path) -> None:
    for members, message in (
        ({"data/aotinductor/model/a.so": b"\x7fELF"}, r"compiled code \(AOTInductor\)"),
        ({"version": b"3"}, "holds no exported program"),
    ):
        path = tmp_path / "model.pt2"
        write_archive(path, members)
        path.with_suffix(".json").write_text(good.with_suffix(".json").read_text())
        with pytest.raises(InputError, match=message):
            open_checkpoint(path, {})
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr("serialized_exported_program.json", b"{}")
    with pytest.raises(InputError, match="in the layout of an older torch"):
        open_checkpoint(path, {})
    assert not os.path.exists(tmp_path / "a.so")
