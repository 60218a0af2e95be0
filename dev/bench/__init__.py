"""`make bench`: the benchmark tables of docs/performance.md."""
