"""What the command line shows: progress while something runs, and the tables at its end."""

from respeval.console.catalog import catalog_text
from respeval.console.compare import comparison_notes, comparison_tables
from respeval.console.precision import precision_table
from respeval.console.probe import ConsoleProbeReporter, SilentProbeReporter, probe_table
from respeval.console.reference import agreement_tables
from respeval.console.rehearsal import batch_table, compiling_line, response_error_table
from respeval.console.run import ConsoleReporter, SilentReporter, inspection_tables
from respeval.console.sweep import amount, estimate_table, sweep_table
from respeval.console.warming import full_tables, perturbation_columns, truth_table, warming_table
from respeval.diagnostics.numbers import MAIN, QUANTITIES, holds, usual_diagnostics

__all__ = [
    "MAIN",
    "QUANTITIES",
    "ConsoleProbeReporter",
    "ConsoleReporter",
    "SilentProbeReporter",
    "SilentReporter",
    "agreement_tables",
    "amount",
    "batch_table",
    "catalog_text",
    "comparison_notes",
    "comparison_tables",
    "compiling_line",
    "estimate_table",
    "full_tables",
    "holds",
    "inspection_tables",
    "perturbation_columns",
    "precision_table",
    "probe_table",
    "response_error_table",
    "sweep_table",
    "truth_table",
    "usual_diagnostics",
    "warming_table",
]
