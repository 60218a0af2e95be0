"""The services of several functions in one place, for benchmarks and tests."""

from functions.api.services import ApiServices
from functions.cleanup.services import CleanupServices
from functions.merge.services import MergeServices


class AllServices(ApiServices, MergeServices, CleanupServices):
    """Holds what no deployed function has together: uploads and lookups, merges, and cleanup."""
