"""What the diagnostics are: formulas on zonal responses, each declared once."""
