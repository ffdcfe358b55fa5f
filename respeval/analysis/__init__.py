"""Saved means to answers: one run, a run beside a reference, many runs beside each other.

Its rooms are taken by their own names: many runs need dask, which one run is not to wait for.
"""
