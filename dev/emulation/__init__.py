"""Emulates what AWS does around the functions, for tests and benchmarks: streaming caps, faults on the way, meters."""
