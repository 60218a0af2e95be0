"""`make deploy`: asks six things at most, says what will be made and what it costs, deploys, and checks."""

import local  # noqa: F401 - puts the core's packages on the path, whose prices are used here
