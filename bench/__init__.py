"""Benchmarks: each prints one table of ratios measured in one run, see ``--help`` of each."""
