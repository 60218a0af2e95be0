"""`make bench`: the benchmark tables of docs/performance.md."""

import local  # noqa: F401 - puts the core's packages on the path
