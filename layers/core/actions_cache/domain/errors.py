"""What can be wrong with a request. Each message is read by a user: what, with what, and what to do.

The HTTP functions put these into the client's dialect: twirp JSON or Azure XML (docs/design/protocol.md).
"""


class CacheError(Exception):
    """A request that can't be served as asked. Nothing was changed."""


class InvalidRequest(CacheError):
    """A field is missing, malformed, out of bounds, or contradicts what was stored."""


class TooLarge(CacheError):
    """A body or a field is over its limit."""


class Unauthenticated(CacheError):
    """No token, a malformed or expired one, or one that this server doesn't trust."""


class PermissionDenied(CacheError):
    """A good token or signature, but not for this."""


class NotFound(CacheError):
    """No such upload, download or route."""


class AlreadyExists(CacheError):
    """The key is saved, or validly reserved."""


class CommittedDifferently(CacheError):
    """The upload was committed with another block list; what is committed stays (all or nothing)."""


class InvalidBlockList(InvalidRequest):
    """Raised when a block list names a block that never arrived, or names one twice."""


class PreconditionFailed(CacheError):
    """The client pinned another ETag."""


class RangeNotSatisfiable(CacheError):
    """The asked range lies outside the archive."""

    def __init__(self, size: int) -> None:
        super().__init__(f"the archive has {size} bytes")
        self.size = size


class TryAgain(CacheError):
    """Neither refused nor possible now: a dependency is slow, or a merge isn't done yet."""

    def __init__(self, message: str, retry_after_seconds: int = 5) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class TooManyRequests(TryAgain):
    """More than the repository may do in this time."""
