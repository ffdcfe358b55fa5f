"""How sure a number is: totals by year and sample, replicates, intervals, tests."""
