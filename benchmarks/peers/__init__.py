"""Peers of benchmarks/quality_vs_peers.py: each trains the starter's student on the same pairs by its own library."""
