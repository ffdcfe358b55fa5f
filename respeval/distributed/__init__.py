"""Other processes: collectives, signs of life, and the step at which all stop."""
