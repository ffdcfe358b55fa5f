"""ACE checkpoints, which the `fme` package wrote and opens."""
