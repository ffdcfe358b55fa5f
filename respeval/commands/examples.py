"""Examples at the end of each command's help page; a test holds them against the commands."""

from __future__ import annotations

#: Command -> its examples, a line each.
EXAMPLES: dict[str, str] = {
    "respeval": """\
respeval demo demo
respeval inspect checkpoint.pt
respeval run checkpoint.pt -o out
respeval report out -o report.html""",
    "inspect": """\
respeval inspect checkpoint.pt
respeval inspect checkpoint.ckpt --reader format=ace""",
    "run": """\
respeval run checkpoint.pt -o out --dry-run
respeval run checkpoint.pt -o out
respeval run checkpoint.pt -o out --perturb p2K=uniform:2 --years 10
respeval run ckpts/*.pt -o sweep --case case.yaml
torchrun --nproc-per-node 4 -m respeval run checkpoint.pt -o out""",
    "diagnose": """\
respeval diagnose out --all
respeval diagnose out --bands tropics=0:20,high=50:70
respeval diagnose --list""",
    "compare": """\
respeval compare runs/a runs/b
respeval compare runs/a runs/b --reference truth.nc -o comparison
respeval compare runs/a runs/b -o comparison --map PRATEsfc --map ULWRFtoa
respeval compare sweep --perturbation p4K -o comparison""",
    "report": """\
respeval report out -o report.html
respeval report runs/a runs/b probe -o report.html --title Emulators""",
    "gradient-probe": """\
respeval gradient-probe checkpoint.pt --data training.nc -o probe
respeval gradient-probe checkpoint.pt --data training.nc -o arms \\
    --arm none --arm per_sample --arm per_sample:gamma=1.0""",
    "export": """\
respeval export aimip run --model MyModel --institute Mine -o submission
respeval export check submission""",
    "aimip": """\
respeval run checkpoint.pt --protocol aimip -o run
respeval export aimip run --model MyModel --institute Mine -o submission""",
    "check": """\
respeval export check submission
respeval export check submission --period 197810-198012""",
    "demo": """\
respeval demo demo
respeval demo demo --years 1 --samples 2""",
}
