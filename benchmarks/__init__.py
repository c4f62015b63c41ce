"""Measured claims: each file here is one family of them, run as `python -m benchmarks.NAME`."""
