"""`actions-cache-doctor`: says whether the jobs of a runner will reach the cache server, and if not why.

It stands alone: runner images have Python 3.9 or newer and none of this project's packages, so it uses the standard
library only, and nothing of the project (tests/unit/doctor/test_portable.py).
"""

VERSION = "0.1.0"
"""The project's version, as in pyproject.toml, which one file on a runner can't read."""
