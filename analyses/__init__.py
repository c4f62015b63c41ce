"""Questions:each file asks one, over the public API alone, and runs as `python -m analyses.NAME`."""
