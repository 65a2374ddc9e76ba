"""Peers and litgen on the same work in one run: ratios, not times.

``python -m benchmarks`` lists what can be measured. Proof: tests/test_benchmarks.py.
"""
