"""All of it but the bytes, for those who do more than one function does: the operator's commands, and the tests."""

from actions_cache.wiring.merging import Merging
from actions_cache.wiring.requests import Requests
from actions_cache.wiring.upkeep import Upkeep


class ControlPlane(Requests, Merging, Upkeep):
    """See Shared for what it is made of."""
