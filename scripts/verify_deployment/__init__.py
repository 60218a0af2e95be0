"""`make verify-deployment URL=...`: saves and restores for real, and says in plain words what is wrong."""

import local  # noqa: F401 - puts the core's packages on the path, whose signatures are used here
