"""The errors with which a request is refused.

Users read each message, so it says what is wrong, with what, and what to do. The HTTP functions translate the errors
into the client's dialect: twirp JSON or Azure XML (docs/design/protocol.md).
"""


class CacheError(Exception):
    """Raised when a request can't be served; nothing was changed."""


class InvalidRequest(CacheError):
    """Raised when a field is missing, malformed or out of bounds, or contradicts what is stored."""


class TooLarge(CacheError):
    """Raised when a body or a field is over its limit."""


class Unauthenticated(CacheError):
    """Raised when the token is missing, malformed, expired, or not trusted by this server."""


class PermissionDenied(CacheError):
    """Raised when a token or signature is valid, but not for this request."""


class NotFound(CacheError):
    """Raised when there is no such upload, download or route."""


class AlreadyExists(CacheError):
    """Raised when the key is saved or reserved."""


class CommittedDifferently(CacheError):
    """Raised when the upload was committed with another block list; the committed content stays (all or nothing)."""


class InvalidBlockList(InvalidRequest):
    """Raised when a block list names a block that never arrived, or names one twice."""


class PreconditionFailed(CacheError):
    """Raised when the client requires another ETag."""


class RangeNotSatisfiable(CacheError):
    """Raised when the requested range lies outside the archive."""

    def __init__(self, size: int) -> None:
        super().__init__(f"the archive has {size} bytes")
        self.size = size


class TryAgain(CacheError):
    """Raised when a request may succeed later: a dependency is slow, or a merge isn't done yet."""

    def __init__(self, message: str, retry_after_seconds: int = 5) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class TooManyRequests(TryAgain):
    """Raised when the repository sends more requests than its rate limit allows."""
