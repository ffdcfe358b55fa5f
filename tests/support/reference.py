"""What respeval says and writes, all of it, held against what it said and wrote before.

    python tests/support/reference.py make FILE       writes the reference, JSON
    python tests/support/reference.py compare FILE    makes everything anew, a line per difference

It judges the respeval that it lies beside as a user meets it: by the commands of
reference_commands.txt, in processes of their own, with nothing of the package imported. It holds lines:
what a command prints, a file of text, and for netCDF each variable (SHA-256 of its bytes, type,
dimensions, storage) and each attribute; of other files, pictures in the report too, the SHA-256.

Masked is what must change from run to run: moments (`<now>`), tracking ids, speeds and times left,
memory and free space of a dry run, versions of packages, and checksums of netCDF files, for which the
file's name stands where they are right. Lines of progress come by the clock; the last one is held. All
is made in the same folder every time, since the digest of a case depends on it.

Numbers are held to the last bit: compare with the packages, and on the kind of processor, of the
reference.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import torch
import xarray as xr

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = Path(__file__).with_name("reference_commands.txt")

#: Where everything is made; a reference names its own.
FOLDER = Path(tempfile.gettempdir()).resolve() / "respeval-reference"

#: Name of what was made -> its lines.
Found = dict[str, list[str]]

MASKS = (
    (r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\+00:00|Z)", "<now>"),
    (r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "<uuid>"),
    (r"(?m)^(?:segment|batch) (\d+) of (?!\1\b).*\n", ""),
    (r"[\d.,]+ steps/s  [\d.,]+ simulated years/day  \S+ left", "<speed>"),
    (r"│ *[\d.,]+ [KMGT]iB │ *\d+:\d\d:\d\d │", "│ <memory> │ <time> │"),
    (r"[\d.]+ [KMGT]iB are free", "<free> are free"),
    (r'("versions": \{)[^}]*\}', r"\1<versions>}"),
)

#: Outputs of noisy.pt that the planet has not, each made as the one beside it.
MORE_OUTPUTS = {
    "rsdt": "ULWRFtoa",
    "CSULFtoa": "ULWRFtoa",
    "CSUSFtoa": "USWRFtoa",
    "DSWRFsfc": "USWRFtoa",
    "USWRFsfc": "USWRFtoa",
    "DLWRFsfc": "ULWRFtoa",
    "ULWRFsfc": "ULWRFtoa",
    "LHTFLsfc": "USWRFtoa",
    "SHTFLsfc": "ULWRFtoa",
    "water_path": "PRATEsfc",
}

#: Edges of the planet's eight layers as an ACE checkpoint would give them.
HYBRID_LEVELS = {
    "ap_Pa": [0.0, 5e3, 1.4e4, 2e4, 1.8e4, 1.2e4, 6e3, 2e3, 0.0],
    "b": [0.0, 0.0, 0.0, 0.1, 0.26, 0.48, 0.7, 0.89, 1.0],
}

LOSS = """\
type: EnsembleLoss
kwargs: {crps_weight: 0.8, energy_score_weight: 0.2, energy_score_whitening: {kind: per_sample}}
"""

#: Lets malformed.py, which writes docs/malformed.md, write another page.
WRITE_PAGE = """\
import pathlib, sys
from tests.support import malformed
assert malformed.PAGE.name == "malformed.md"
malformed.PAGE, sys.argv[1:] = pathlib.Path(sys.argv[1]), []
malformed.main()
"""


# --- commands ----------------------------------------------------------------------------------


def say(found: Found, folder: Path, section: str) -> None:
    """Give the commands of a section, and keep how each ended and what it printed."""
    for line in commands(section):
        begun = time.monotonic()
        done = run([sys.executable, "-m", "respeval", *shlex.split(line)], folder)
        tell(f"{time.monotonic() - begun:5.1f} s, exit code {done.returncode}: respeval {line}")
        printed = masked(done.stdout, folder)
        if "--dry-run" in line:  # columns are as wide as the memory and the time
            printed = re.sub(r"([━─ ])\1+", r"\1", printed)
        errors = [f"stderr: {text}" for text in masked(done.stderr, folder).splitlines()]
        name = f"respeval {line}"
        name += " (again)" if name in found else ""
        found[name] = [f"exit code {done.returncode}", *printed.splitlines(), *errors]


def commands(section: str) -> list[str]:
    """The commands below `[section]`, each in one line."""
    text = COMMANDS.read_text().replace("\\\n", " ").partition(f"\n[{section}]\n")[2]
    lines = [" ".join(line.split()) for line in text.partition("\n[")[0].splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def run(command: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program on a plain terminal of 120 columns with one thread, no GPU and this respeval."""
    kept = {name: value for name, value in os.environ.items() if name != "FORCE_COLOR"}
    fixed = {"COLUMNS": "120", "TERM": "dumb", "NO_COLOR": "1", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    fixed |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    fixed |= {"PYTHONPATH": str(ROOT)}
    streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True}
    return subprocess.run(command, cwd=folder, env=kept | fixed, check=False, **streams)


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def masked(text: str, folder: Path) -> str:
    """A text without what differs from run to run."""
    for pattern, instead in MASKS:
        text = re.sub(pattern, instead, text)
    return text.replace(str(folder), "<folder>")


# --- what they read ----------------------------------------------------------------------------


def write_inputs(folder: Path) -> None:
    """What the runs need beside the demo: noisy.pt, a stochastic checkpoint, and small files."""
    demo = folder / "demo"
    write_noisy(demo / "perturbed_sst.pt", folder / "noisy.pt")
    (folder / "broken.pt").write_bytes((demo / "present_day.pt").read_bytes()[:-100])
    (folder / "loss.yaml").write_text(LOSS)
    with xr.open_dataset(demo / "training.nc") as training:
        more = {name: training[like] for name, like in MORE_OUTPUTS.items()}
        training.assign(more).to_netcdf(folder / "training.nc")
    with xr.open_dataset(demo / "forcing.nc") as forcing:
        forcing.isel(time=slice(366)).to_netcdf(folder / "year.nc")
        sst = forcing["surface_temperature"].isel(time=0, drop=True)
        (sst - 284.0).to_dataset(name="anomaly").to_netcdf(folder / "pattern.nc")
    with xr.open_dataset(demo / "initial.nc") as initial:
        initial.isel(sample=slice(1)).to_netcdf(folder / "one.nc")


def write_noisy(checkpoint: Path, noisy: Path) -> None:
    """A checkpoint with a channel of noise, which acts as temperature does, and more outputs."""
    content = torch.load(checkpoint, weights_only=True)
    manifest, weights = json.loads(content["manifest"]), content["state_dict"]
    names = [entry["name"] for entry in manifest["prognostic"] + manifest["diagnostic"]]
    units = {entry["name"]: entry["units"] for entry in manifest["diagnostic"]}
    for name, like in MORE_OUTPUTS.items():
        entry = {"name": name, "units": units[like], "long_name": f"made as {like}"}
        manifest["diagnostic"].append(entry)
        manifest["normalization"][name] = manifest["normalization"][like]
    rows = weights["network.decoder.0.weight"]
    more = rows[[names.index(like) for like in MORE_OUTPUTS.values()]]
    factors = 1.0 + 0.1 * torch.arange(len(more)).reshape(-1, 1, 1, 1)
    weights["network.decoder.0.weight"] = torch.cat([rows, factors * more])
    columns = weights["network.encoder.0.weight"]
    weights["network.encoder.0.weight"] = torch.cat([columns, 0.5 * columns[:, 7:8]], dim=1)
    manifest["num_noise_channels"] = 1
    torch.save(content | {"manifest": json.dumps(manifest)}, noisy)


def add_hybrid_levels(manifest: Path) -> None:
    """Let a run's manifest name the edges of its layers, as that of an ACE checkpoint does."""
    if manifest.exists():
        content = json.loads(manifest.read_text()) | {"hybrid_levels": HYBRID_LEVELS}
        manifest.write_text(json.dumps(content, indent=1))


# --- what they write ---------------------------------------------------------------------------


def keep_files(found: Found, folder: Path) -> None:
    """Keep every file below a folder, as the module's text says."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    written = {sha256(path.read_bytes()): path.name for path in paths if path.suffix == ".nc"}

    def clean(text: str) -> str:
        named = re.sub(r"\b[0-9a-f]{64}\b", lambda part: written.get(part[0], part[0]), text)
        return masked(named, folder)

    for path in paths:
        name, content = str(path.relative_to(folder)), path.read_bytes()
        if path.suffix == ".nc":
            with netCDF4.Dataset(path) as opened:
                found[name] = [clean(line) for line in netcdf_lines(opened)]
        elif path.suffix in {".json", ".yaml", ".csv", ".html"}:
            text = re.sub(
                r"base64,[\w+/=]+", lambda part: sha256(part[0].encode()), content.decode()
            )
            found[name] = clean(text).splitlines()
        else:
            found[name] = [sha256(re.sub(rb"/CreationDate \(.*?\)", b"", content))]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def netcdf_lines(opened: netCDF4.Dataset) -> Iterator[str]:
    """The file's attributes, then each variable, as it is stored, with its own."""
    sizes = ", ".join(f"{name}: {len(size)}" for name, size in opened.dimensions.items())
    yield f"{opened.data_model}, {sizes}"
    yield from (f":{name} = {shown(opened.getncattr(name))}" for name in opened.ncattrs())
    opened.set_auto_maskandscale(False)
    opened.set_auto_chartostring(False)
    for variable in opened.variables.values():
        values = np.ascontiguousarray(variable[...])
        texts = values.dtype.kind == "O"
        content = "\0".join(values.ravel()).encode() if texts else values.tobytes()
        dims, level = ", ".join(variable.dimensions), variable.filters()["complevel"]
        stored = f"{variable.chunking()}, level {level}"
        yield f"{variable.dtype} {variable.name}({dims}) {sha256(content)}, {stored}"
        for name in variable.ncattrs():
            yield f"{variable.name}:{name} = {shown(variable.getncattr(name))}"


def shown(attribute: object) -> str:
    if isinstance(attribute, np.ndarray | np.generic):
        return f"{attribute.tolist()!r} ({attribute.dtype})"
    return repr(attribute)


# --- the parts of a reference ------------------------------------------------------------------


def make_help(found: Found, folder: Path) -> None:
    say(found, folder, "help")


def make_runs(found: Found, folder: Path) -> None:
    say(found, folder, "demo")
    write_inputs(folder)
    say(found, folder, "runs")
    add_hybrid_levels(folder / "aimip" / "manifest.json")
    say(found, folder, "afterwards")
    say(found, folder, "refused")
    keep_files(found, folder)


def make_malformed(found: Found, folder: Path) -> None:
    """What docs/malformed.md would be."""
    page = folder / "malformed.md"
    tell("malformed.py; a minute")
    done = run([sys.executable, "-c", WRITE_PAGE, str(page)], folder)
    text = page.read_text() if page.exists() else done.stderr
    found["malformed.md"] = text.splitlines()


def make_sentences(found: Found, folder: Path) -> None:
    """Every text of three words and more in the package's code, wherever it stands; no docstrings.

    So it sees messages that nothing above provokes. The holes of f-strings are `{}`.
    """
    texts: set[str] = set()
    for path in (ROOT / "respeval").rglob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        parts = [part for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values]
        alone = [node.value for node in nodes if isinstance(node, ast.Expr)]
        left_out = set(map(id, parts + alone))
        texts.update(sentence(node) for node in nodes if id(node) not in left_out)
    found["sentences"] = sorted(repr(text) for text in texts if len(text.split()) > 2)


def sentence(node: ast.AST) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(sentence(part) or "{}" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


PARTS: dict[str, Callable[[Found, Path], None]] = {
    "help": make_help,
    "runs": make_runs,
    "malformed": make_malformed,
    "sentences": make_sentences,
}


def make(folder: Path, parts: Iterable[str]) -> Found:
    """What respeval says and writes, in a folder that is made for it and removed."""
    try:
        folder.mkdir()
    except FileExistsError:
        raise SystemExit(
            f"{folder} is there: another process is at it, or was killed; then remove the folder"
        ) from None
    found: Found = {}
    try:
        for part in parts:
            made: Found = {}
            PARTS[part](made, folder)
            found |= {f"{part}: {name}": lines for name, lines in made.items()}
    finally:
        shutil.rmtree(folder)
    return found


def differences(before: Found, now: Found) -> Iterator[str]:
    """A line for each line that differs."""
    for name in dict.fromkeys((*before, *now)):
        old, new = before.get(name), now.get(name)
        if old is None or new is None:
            yield f"{name}: {'is new' if old is None else 'is gone'}"
        elif old != new:
            yield from (f"{name}: {change}" for change in changes(old, new))


def changes(old: list[str], new: list[str]) -> Iterator[str]:
    for kind, a, b, c, d in difflib.SequenceMatcher(None, old, new, False).get_opcodes():
        if kind != "equal":
            both = min(b - a, d - c)
            yield from (f"{old[a + i]} → {new[c + i]}" for i in range(both))
            yield from (f"- {line}" for line in old[a + both : b])
            yield from (f"+ {line}" for line in new[c + both : d])


def circumstances() -> dict[str, str]:
    """What numbers depend on besides respeval."""
    packages = ("torch", "torch-harmonics", "numpy", "scipy", "xarray", "netCDF4", "matplotlib")
    processor = torch.backends.cpu.get_cpu_capability()
    return {name: version(name) for name in packages} | {"processor": processor}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("action", choices=("make", "compare"))
    parser.add_argument("file", type=Path, help="the reference, JSON")
    only = f"compare this part alone, of {', '.join(PARTS)}; repeat for several"
    parser.add_argument("--only", choices=PARTS, action="append", metavar="PART", help=only)
    arguments = parser.parse_args()
    if arguments.action == "make":
        made = {"made with": circumstances(), "folder": str(FOLDER), "found": make(FOLDER, PARTS)}
        arguments.file.write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n")
        return
    reference = json.loads(arguments.file.read_text())
    if reference["made with"] != circumstances():
        print(f"note: made with {reference['made with']}, compared with {circumstances()}")
    parts = arguments.only or list(PARTS)
    found: Found = reference["found"]
    before = {name: lines for name, lines in found.items() if name.partition(": ")[0] in parts}
    now = make(Path(reference["folder"]), parts)
    lines = list(differences(before, now))
    print("".join(f"{line}\n" for line in lines), end="")
    print(f"{sum(map(len, now.values()))} lines of {len(now)} things, different: {len(lines)}")
    raise SystemExit(bool(lines))


if __name__ == "__main__":
    main()
