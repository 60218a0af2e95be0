"""`make try-on-aws`: a throwaway stack, the deployment check and a small bench on it, and nothing left of either."""

import local  # noqa: F401 - puts the core's packages on the path, whose prices are used here
