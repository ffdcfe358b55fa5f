"""What a run measures before it begins."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rich.table import Table

from respeval.presentation.console.sweep import amount

if TYPE_CHECKING:
    from collections.abc import Mapping

    from respeval.plan.rehearsal import Compiling


#: Of a `ResponseError`: the global mean's response in the run's precision, and in float32.
_GIVEN_K, _EXACT_K = "near_surface_K", "near_surface_float32_K"


def response_error_table(measured: Mapping[str, Any]) -> Table:
    """The response in a run's precision beside float32's; measured: see `measure_precision`."""
    precision, samples = measured["precision"], measured["num_samples"]
    table = Table(
        title=f"Response of the first {measured['num_steps']} steps in {precision} (mean of {samples} "
        f"sample{'' if samples == 1 else 's'})",
        title_justify="left",
    )
    rows = measured["response"].items()
    with_temperature = any(error[_EXACT_K] is not None for _, error in rows)
    table.add_column("perturbation")
    table.add_column("largest\nerror", justify="right")
    table.add_column("of the output", overflow="fold")
    if with_temperature:
        table.add_column(f"near\nsurface, K:\n{precision}", justify="right")
        table.add_column("float32", justify="right")
    for label, error in rows:
        kelvins = (error[_GIVEN_K], error[_EXACT_K]) if with_temperature else ()
        cells = [_share(error), error["output"] or "none responds", *map(_kelvin, kelvins)]
        table.add_row(label, *cells)
    table.caption = (
        "error: RMS over the globe of the difference to float32's response, relative to RMS of that one;\n"
        "of these steps: it does not say how far the mean response of a long run is off"
    )
    table.caption_justify = "left"
    return table


def _share(error: Mapping[str, Any]) -> str:
    if error["largest"] is None:
        return "" if error["output"] is None else "not finite"
    return f"{100 * error['largest']:.2g} %"


def _kelvin(number: float | None) -> str:
    return "not finite" if number is None else f"{number:+.4f}"


def compiling_line(compiling: Compiling, num_steps: int) -> str:
    """What compiling took and won, and whether it pays in so many steps."""
    steps = compiling.steps_to_pay
    if steps <= num_steps:
        verdict = f"which pays after {math.ceil(steps):,} of {num_steps:,} steps"
    elif math.isinf(steps):
        verdict = "which never pays; leave --compile out"
    else:
        verdict = (
            f"which pays after {math.ceil(steps):,} steps, more than are left; leave --compile out"
        )
    return (
        f"compiled in {compiling.compile_s:.0f} s; a step takes {compiling.step_s:.3g} s instead of "
        f"{compiling.eager_step_s:.3g} s, {verdict}"
    )


def fast_transforms_line(measured: Mapping[str, Any]) -> str:
    """What they win and do to the response; measured: see `measure_fast_transforms`."""
    errors = [
        (math.inf if error["largest"] is None else error["largest"], label, error["output"])
        for label, error in measured["response"].items()
        if error["output"] is not None
    ]
    largest, label, output = max(errors, default=(0.0, "", ""))
    told = f"by at most {largest:.1e} of its RMS ({output}, {label})" if largest else "by nothing"
    return (
        f"fast transforms in {measured['num_fast']} of {measured['num_convolutions']} spectral convolutions: "
        f"a step takes {measured['step_s']:.3g} s instead of {measured['usual_step_s']:.3g} s"
        f"{'' if measured['step_s'] < measured['usual_step_s'] else ', so leave them out'}; the response of "
        f"the first {measured['num_steps']} steps differs {told}"
    )


def batch_table(measured: Mapping[str, Any]) -> Table:
    """Batch sizes that were tried, and the one that is taken; measured: see `with_batch_size`."""
    tried = measured["tried"]
    with_memory = any(entry["memory"] is not None for entry in tried)
    table = Table(title="Samples stepped at once", title_justify="left")
    for heading in ("samples", "s per member and step", *(["GPU memory"] if with_memory else [])):
        table.add_column(heading, justify="right")
    table.add_column("")
    for entry in tried:
        fits = entry["seconds"] is not None
        cells = [str(entry["size"]), f"{entry['seconds']:.3g}" if fits else "out of memory"]
        if with_memory:
            cells.append("" if entry["memory"] is None else amount(entry["memory"]))
        table.add_row(*cells, "taken" if entry["size"] == measured["chosen"] else "")
    return table
