"""What AWS does around the functions, emulated for tests and benchmarks: streaming caps, faults on the way, meters."""
