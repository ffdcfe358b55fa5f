"""What a run is asked for: the case, its file, its options, roles and protocols."""
