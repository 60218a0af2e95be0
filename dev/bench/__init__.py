"""`make bench`: the benchmark tables of docs/design/performance.md."""
