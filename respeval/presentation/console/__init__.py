"""What the command line shows: progress while something runs, and the tables at its end."""
