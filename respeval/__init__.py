"""Paired warming responses and spectral gradient probes of saved climate emulators."""

__version__ = "0.1.0"
