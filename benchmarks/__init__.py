"""Measurements of respeval side by side with what it is compared to; `make bench` runs them."""
