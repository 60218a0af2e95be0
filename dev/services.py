"""Every use case in one place, for benchmarks and tests: no deployed function has them all."""

from functions.api.services import ApiServices
from functions.cleanup.services import CleanupServices
from functions.merge.services import MergeServices


class AllServices(ApiServices, MergeServices, CleanupServices):
    """See CoreServices for what it takes."""
