"""Malformed checkpoints: native files, exported programs, readers' options."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.support.broken import (
    INSPECT,
    INSPECT_EXPORTED,
    PROBE,
    RUN,
    Broken,
    Change,
    RunsCode,
    cut,
    edit_json,
    pipe,
    replace_text,
    write,
)

WEIGHT = "network.encoder.0.weight"
Members = dict[str, bytes]


def content(change: Callable[[dict[str, Any]], Any]) -> Change:
    """Change what torch.save wrote."""

    def changed(folder: Path) -> None:
        loaded = torch.load(folder / "tiny.pt", weights_only=True)
        torch.save(change(loaded), folder / "tiny.pt")

    return changed


def manifest(change: Callable[[dict[str, Any]], object]) -> Change:
    def changed(loaded: dict[str, Any]) -> dict[str, Any]:
        parsed = json.loads(loaded["manifest"])
        change(parsed)
        return {**loaded, "manifest": json.dumps(parsed)}

    return content(changed)


def manifest_text(old: str, new: str) -> Change:
    def changed(loaded: dict[str, Any]) -> dict[str, Any]:
        assert old in loaded["manifest"], loaded["manifest"]
        return {**loaded, "manifest": loaded["manifest"].replace(old, new, 1)}

    return content(changed)


def weight(tensor: Callable[[torch.Tensor], Any]) -> Change:
    def changed(loaded: dict[str, Any]) -> dict[str, Any]:
        weights = dict(loaded["state_dict"])
        return {**loaded, "state_dict": {**weights, WEIGHT: tensor(weights[WEIGHT])}}

    return content(changed)


def archive(name: str, change: Callable[[Members], object], compression: int = 0) -> Change:
    def changed(folder: Path) -> None:
        with zipfile.ZipFile(folder / name) as opened:
            members = {member: opened.read(member) for member in opened.namelist()}
        change(members)
        with zipfile.ZipFile(folder / name, "w", compression) as opened:
            for member, data in members.items():
                opened.writestr(member, data)

    return changed


def twice(folder: Path) -> None:
    with zipfile.ZipFile(folder / "tiny.pt", "a") as opened:
        opened.writestr(opened.namelist()[0], b"another")


def find(members: Members, ending: str) -> str:
    return next(name for name in members if name.endswith(ending))


def grow(members: Members) -> None:
    members[find(members, "data/0")] = bytes(200 * 2**20)


def nested(depth: int, pair: Callable[[Any], Any]) -> Any:
    """A value that holds the one below twice, so many levels deep: little to write, much to walk."""
    value: Any = pair("")
    for _ in range(depth):
        value = pair(value)
    return value


def tuples_as_key(members: Members) -> None:
    """A key of tuples, each of which holds the one before it twice: to compare it takes for ever."""
    pairs = b"".join(b"q%ch%c\x86" % (i, i) for i in range(60))
    members[find(members, "data.pkl")] = b"\x80\x02}X\0\0\0\0" + pairs + b"K\x01s."


class _Claims(pickle.Pickler):
    """Names a storage of a terabyte where the archive has a few bytes."""

    def persistent_id(self, value: Any) -> Any:
        if isinstance(value, torch.UntypedStorage):
            return ("storage", torch.FloatStorage, "0", "cpu", 2**38)
        return None


class _Rebuilt:
    def __reduce__(self) -> Any:
        storage = torch.zeros(1).untyped_storage()
        return torch._utils._rebuild_tensor_v2, (storage, 0, (2**38,), (1,), False, {})


def claimed_storage(members: Members) -> None:
    buffer = io.BytesIO()
    _Claims(buffer, 2).dump({"format": "respeval/1", "manifest": "{}", "state_dict": _Rebuilt()})
    members[find(members, "data.pkl")] = buffer.getvalue()


def called(function: Any, *arguments: Any) -> Any:
    """Something that calls a function when it is unpickled."""

    class Called:
        def __reduce__(self) -> Any:
            return function, arguments

    return Called()


def quantized(tensor: torch.Tensor) -> torch.Tensor:
    return torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8)


def architecture(**arguments: Any) -> Change:
    return manifest(lambda m: m["architecture"]["arguments"].update(arguments))


def wide_transform(parsed: dict[str, Any]) -> None:
    parsed["architecture"]["transform"] |= {"lmax": 90_000, "mmax": 90_000}
    parsed["architecture"]["arguments"] |= {"embed_dim": 1, "num_layers": 1, "use_mlp": False}
    parsed["training"] = {str(i): "x" * 1000 for i in range(800)}  # a larger file


def wide_grid(parsed: dict[str, Any]) -> None:
    parsed["grid"]["latitude"] = np.linspace(90, -90, 9000).tolist()
    parsed["grid"]["longitude"] = np.linspace(0, 359.96, 9000).tolist()


def rename(parsed: dict[str, Any], name: str) -> None:
    parsed["diagnostic"][0]["name"] = name
    parsed["normalization"][name] = parsed["normalization"].pop("rain")


def exported(ending: str, change: Callable[[Any], object]) -> Change:
    """Change a JSON member of the exported program."""

    def changed(members: Members) -> None:
        name = find(members, ending)
        parsed = json.loads(members[name])
        change(parsed)
        members[name] = json.dumps(parsed).encode()

    return archive("tiny.pt2", changed)


def pickled_weight(members: Members) -> None:
    name = find(members, "model_weights_config.json")
    parsed = json.loads(members[name])
    entry = parsed["config"][next(iter(parsed["config"]))]
    entry |= {"use_pickle": True, "path_name": "weight_0"}
    members[name] = json.dumps(parsed).encode()
    buffer = io.BytesIO()
    torch.save(RunsCode(), buffer)
    members[find(members, "weight_0")] = buffer.getvalue()


def first_weight(parsed: Any) -> Any:
    return parsed["config"][next(iter(parsed["config"]))]["tensor_meta"]


def nodes(parsed: Any) -> Any:
    return parsed["graph_module"]["graph"]["nodes"]


def deep(members: Members) -> None:
    members[find(members, "models/model.json")] = b"[" * 200_000


def to_folder(name: str) -> Change:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return change


def renamed_archive(folder: Path) -> None:
    (folder / "tiny.pt").rename(folder / "tiny.tar")


EVEN = [78.75 - 22.5 * i for i in range(8)]
NO_CHECKPOINT = "is no checkpoint: it can't be read as saved weights"
CASES = [
    Broken("checkpoint: empty file", INSPECT, write("tiny.pt", b""), NO_CHECKPOINT),
    Broken("checkpoint: a text", INSPECT, write("tiny.pt", "hello"), NO_CHECKPOINT),
    Broken("checkpoint: half of the file", INSPECT, cut("tiny.pt", 0.5), NO_CHECKPOINT),
    Broken("checkpoint: without its last bytes", RUN, cut("tiny.pt", 0.99), NO_CHECKPOINT),
    Broken("checkpoint: a pipe", INSPECT, pipe("tiny.pt"), "no such checkpoint file"),
    Broken("checkpoint: a folder", INSPECT, to_folder("tiny.pt"), "is a folder, expected a"),
    Broken(
        "checkpoint: a pickle that runs code",
        INSPECT,
        write("tiny.pt", pickle.dumps(RunsCode(), 2)),
        "is no checkpoint: it is a bare pickle, which can run code",
    ),
    Broken(
        "checkpoint: an archive that runs code",
        INSPECT,
        content(lambda c: {**c, "state_dict": RunsCode()}),
        "needs code to load (posix.mkdir)",
    ),
    Broken(
        "checkpoint: an archive that runs code, trusted",
        (*INSPECT, "--trust-checkpoint"),
        content(lambda c: {**c, "state_dict": RunsCode()}),
        "--trust-checkpoint does not change that",
    ),
    Broken(
        "checkpoint: a pickle that asks for a terabyte",
        INSPECT,
        content(lambda c: {**c, "state_dict": called(bytearray, 10**12)}),
        "needs code to load (__builtin__.bytearray)",
    ),
    Broken(
        "checkpoint: an older torch's file",
        INSPECT,
        lambda f: torch.save({"a": 1}, f / "tiny.pt", _use_new_zipfile_serialization=False),
        "is in torch's format from before version 1.6; write it again with",
    ),
    Broken(
        "checkpoint: saved with pickle_protocol=4",
        INSPECT,
        lambda f: torch.save({"a": 1}, f / "tiny.pt", pickle_protocol=4),
        "is written in pickle protocol 4, which torch reads only",
    ),
    Broken(
        "checkpoint: a module saved whole",
        INSPECT,
        lambda f: torch.save(torch.nn.Linear(1, 1), f / "tiny.pt"),
        "needs code to load (torch.nn.modules.linear.Linear), as a network that was saved whole",
    ),
    Broken(
        "checkpoint: the pointer of Git LFS",
        INSPECT,
        write("tiny.pt", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
        "fetch the file with git lfs pull",
    ),
    Broken(
        "checkpoint: compressed members that grow to 200 MB",
        INSPECT,
        archive("tiny.pt", grow, zipfile.ZIP_DEFLATED),
        "is compressed inside, which torch.save never does",
    ),
    Broken("checkpoint: a member twice", INSPECT, twice, "has two members named"),
    Broken(
        "checkpoint: a storage of a terabyte in a few bytes",
        INSPECT,
        archive("tiny.pt", claimed_storage),
        NO_CHECKPOINT,
    ),
    Broken(
        "checkpoint: a terabyte through strides",
        INSPECT,
        weight(lambda w: torch.zeros(1).expand(2**38)),
        "is [274877906944], its manifest asks for [4, 5, 1, 1]",
    ),
    Broken(
        "checkpoint: a key of nested tuples",
        INSPECT,
        archive("tiny.pt", tuples_as_key),
        NO_CHECKPOINT,
    ),
    Broken(
        "checkpoint: a state_dict alone",
        INSPECT,
        content(lambda c: c["state_dict"]),
        "holds weights alone (network.encoder.0.weight",
    ),
    Broken(
        "checkpoint: no format",
        INSPECT,
        content(lambda c: {"model": c["state_dict"]}),
        "it has no 'format' entry (it has: model)",
    ),
    Broken(
        "checkpoint: a weight under two names",
        INSPECT,
        content(lambda c: c["state_dict"].update({f"module.{WEIGHT}": torch.zeros(1)}) or c),
        "holds network.encoder.0.weight twice, as network.encoder.0.weight and as module.",
    ),
    Broken(
        "checkpoint: another format",
        INSPECT,
        content(lambda c: {**c, "format": "respeval/9"}),
        "has format 'respeval/9'; this respeval reads 'respeval/1'",
    ),
    Broken(
        "checkpoint: a format of nested lists",
        INSPECT,
        content(lambda c: {**c, "format": nested(60, lambda v: [v, v])}),
        "its 'format' is no text",
    ),
    Broken(
        "checkpoint: a manifest that is no JSON",
        INSPECT,
        content(lambda c: {**c, "manifest": "{"}),
        "its manifest is no JSON",
    ),
    Broken(
        "checkpoint: a manifest nested without end",
        INSPECT,
        content(lambda c: {**c, "manifest": "[" * 10**6}),
        "nested more than 40 deep",
    ),
    Broken(
        "checkpoint: a number of 5000 digits",
        INSPECT,
        manifest_text('"timestep_s":86400', '"timestep_s":' + "9" * 5000),
        "has 5000 digits",
    ),
    Broken(
        "checkpoint: NaN in the manifest",
        INSPECT,
        manifest_text('"mean":280.0', '"mean":NaN'),
        "NaN is no number of JSON",
    ),
    Broken(
        "checkpoint: an entry twice",
        INSPECT,
        manifest_text('"timestep_s":86400', '"timestep_s":86400,"timestep_s":3600'),
        "'timestep_s' is given twice",
    ),
    Broken(
        "checkpoint: a time step of a billion years",
        INSPECT,
        manifest(lambda m: m.update(timestep_s=10**17)),
        "manifest entry timestep_s: Input should be less than or equal to",
    ),
    Broken(
        "checkpoint: a billion channels",
        INSPECT,
        architecture(embed_dim=10**9),
        "architecture.arguments.embed_dim: Input should be less than or equal to",
    ),
    Broken(
        "checkpoint: spectral filters larger than the file",
        RUN,
        architecture(embed_dim=100_000),
        "MB of spectral filters, the file has",
    ),
    Broken(
        "checkpoint: other weights larger than the file",
        INSPECT,
        architecture(mlp_ratio=64, embed_dim=8, num_layers=1),
        "bytes of weights within cells, the file has",
    ),
    Broken(
        "checkpoint: a transform of 500 GB",
        INSPECT,
        manifest(wide_transform),
        "asks for a transform of",
    ),
    Broken(
        "checkpoint: a billion levels of noise",
        INSPECT,
        manifest(lambda m: m.update(num_noise_channels=10**9)),
        "num_noise_channels: Input should be less than or equal to",
    ),
    Broken(
        "checkpoint: a billion levels",
        INSPECT,
        manifest_text('"timestep_s":86400', '"timestep_s":86400,"levels_hPa":1000000000'),
        "manifest entry levels_hPa: Input should be a valid list",
    ),
    Broken(
        "checkpoint: a grid of 81 million cells",
        INSPECT,
        manifest(wide_grid),
        "the grid has more than",
    ),
    Broken(
        "checkpoint: latitudes in disorder",
        INSPECT,
        manifest(lambda m: m["grid"]["latitude"].reverse() or m["grid"]["latitude"].sort(key=abs)),
        "latitude must be strictly monotonic",
    ),
    Broken(
        "checkpoint: a Gauss grid of even latitudes",
        INSPECT,
        manifest(lambda m: m["grid"].update(latitude=EVEN)),
        "grid kind 'legendre-gauss' does not fit the 8 latitudes, which are off by up to 4.95 degrees",
    ),
    Broken(
        "checkpoint: a part of the globe",
        INSPECT,
        manifest(lambda m: m["grid"].update(kind="regular", latitude=[2.5 * i for i in range(8)])),
        "latitude must reach from pole to pole, it ends at 0",
    ),
    Broken(
        "checkpoint: longitudes that don't close",
        INSPECT,
        manifest(lambda m: m["grid"].update(longitude=[20.0 * i for i in range(16)])),
        "longitude must rise evenly by 22.5 degrees around the whole circle",
    ),
    Broken(
        "checkpoint: a variable named ../../x",
        RUN,
        manifest(lambda m: rename(m, "../../x")),
        "'../../x' can't name a variable of a netCDF file",
    ),
    Broken(
        "checkpoint: a variable named time",
        RUN,
        manifest(lambda m: rename(m, "time")),
        "'time' is what a run's files call something else",
    ),
    Broken(
        "checkpoint: a variable name with control characters",
        RUN,
        manifest(lambda m: rename(m, "rain\x1b[2J")),
        "can't name a variable of a netCDF file",
    ),
    Broken(
        "checkpoint: no weights",
        INSPECT,
        content(lambda c: {**c, "state_dict": None}),
        "has no state_dict",
    ),
    Broken(
        "checkpoint: a weight is missing",
        INSPECT,
        content(lambda c: c["state_dict"].pop(WEIGHT) is None or c),
        "lacks weights: network.encoder.0.weight",
    ),
    Broken(
        "checkpoint: surplus weights",
        INSPECT,
        content(lambda c: c["state_dict"].update(more=torch.zeros(1)) or c),
        "has surplus weights: more",
    ),
    Broken(
        "checkpoint: a weight of another shape", INSPECT, weight(lambda w: w[0]), "is [5, 1, 1]"
    ),
    Broken("checkpoint: a weight of another type", INSPECT, weight(lambda w: w.half()), "float16"),
    Broken("checkpoint: a weight that is a text", INSPECT, weight(lambda w: "0"), "is str, its"),
    Broken("checkpoint: NaN weights", RUN, weight(lambda w: w * torch.nan), "not finite"),
    Broken(
        "checkpoint: a sparse weight",
        INSPECT,
        weight(lambda w: w.to_sparse()),
        "a tensor of a kind that is no plain weight (torch._utils._rebuild_sparse_tensor)",
    ),
    Broken(
        "checkpoint: a quantized weight",
        INSPECT,
        weight(quantized),
        "a tensor of a kind that is no plain weight (torch._utils._rebuild_qtensor)",
    ),
    Broken(
        "checkpoint: a weight without numbers",
        INSPECT,
        weight(lambda w: w.to("meta")),
        "a tensor of a kind that is no plain weight",
    ),
    Broken("checkpoint: probed, half of the file", PROBE, cut("tiny.pt", 0.5), NO_CHECKPOINT),
    Broken(
        "reader: an option that it does not have",
        (*INSPECT, "--reader", "colour=red"),
        lambda f: None,
        "the native reader has no options (got reader: colour)",
    ),
    Broken(
        "reader: a format that is a list",
        RUN,
        replace_text("case.yaml", "days: 6", "days: 6\nreader: {format: [native]}"),
        "no reader of format ['native'] (formats: native",
    ),
    Broken(
        "ACE checkpoint: an unknown option",
        ("inspect", "tiny.tar", "--reader", "colour=red"),
        renamed_archive,
        "the ACE reader has no option colour (reader: ema, labels, derived, grid)",
    ),
    Broken(
        "ACE checkpoint: a grid that is no name",
        ("inspect", "tiny.tar", "--reader", "grid=[1]"),
        renamed_archive,
        "reader option grid must be the name of a netCDF file",
    ),
    Broken(
        "exported: no manifest beside it",
        INSPECT_EXPORTED,
        lambda f: (f / "tiny.json").unlink(),
        "needs a manifest tiny.json beside it",
    ),
    Broken(
        "exported: a manifest that is a pipe",
        INSPECT_EXPORTED,
        pipe("tiny.json"),
        "it is a pipe or a device",
    ),
    Broken(
        "exported: a manifest in UTF-16",
        INSPECT_EXPORTED,
        write("tiny.json", '{"a": 1}'.encode("utf-16")),
        "is no UTF-8 text; save it as UTF-8",
    ),
    Broken(
        "exported: a manifest of another grid",
        INSPECT_EXPORTED,
        edit_json(
            "tiny.json", lambda m: m["grid"].update(kind="regular", latitude=[60, 20, -20, -60])
        ),
        "its input has shape [s77, 5, 8, 16]; its manifest asks for 4 latitudes",
    ),
    Broken(
        "exported: a Gauss grid of even latitudes",
        INSPECT_EXPORTED,
        edit_json("tiny.json", lambda m: m["grid"].update(latitude=EVEN)),
        "grid kind 'legendre-gauss' does not fit the 8 latitudes",
    ),
    Broken(
        "exported: half of the archive", INSPECT_EXPORTED, cut("tiny.pt2", 0.5), "no whole archive"
    ),
    Broken(
        "exported: compressed members",
        INSPECT_EXPORTED,
        archive("tiny.pt2", lambda m: None, zipfile.ZIP_DEFLATED),
        "is compressed; write it with torch.export.save",
    ),
    Broken(
        "exported: a weight that runs code",
        INSPECT_EXPORTED,
        archive("tiny.pt2", pickled_weight),
        "is a pickled object (weight_0)",
    ),
    Broken(
        "exported: an operator that runs code",
        INSPECT_EXPORTED,
        exported("models/model.json", lambda p: nodes(p)[0].update(target="os.system")),
        "it calls os.system, which respeval does not know to be harmless",
    ),
    Broken(
        "exported: a program nested without end",
        INSPECT_EXPORTED,
        archive("tiny.pt2", deep),
        "models/model.json is no JSON",
    ),
    Broken(
        "exported: a weight of a terabyte",
        INSPECT_EXPORTED,
        exported(
            "model_weights_config.json",
            lambda p: first_weight(p)["sizes"].__setitem__(0, {"as_int": 2**38}),
        ),
        "needs more",
    ),
]
