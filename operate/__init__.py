"""The operator's commands: `actions-cache`, or `python -m operate` in a checkout. docs/operator.md shows each."""

from importlib.util import find_spec

if find_spec("actions_cache") is None:
    import local  # noqa: F401 - in a checkout: puts the core's packages on the path
