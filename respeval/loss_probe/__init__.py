"""The gradient of the spectral filters per spherical-harmonic degree."""
