"""Measurements against the libraries everyone uses: python -m benchmarks NAME."""
