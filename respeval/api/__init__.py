"""respeval from Python: runs, what they gave, comparisons and probes, as objects."""
