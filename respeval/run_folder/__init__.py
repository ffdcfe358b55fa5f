"""The folder of a run: what is in it, how it is written, and how a run in it goes on."""
