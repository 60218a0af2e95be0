"""Who is calling, and which scopes the caller may read and write (WIRE.md section 2)."""

from dataclasses import dataclass

from actions_cache.domain.errors import PermissionDenied

READ = 1
WRITE = 2


@dataclass(frozen=True, slots=True)
class Scope:
    """A ref, with the bits that its token has for it."""

    name: str
    permission: int


@dataclass(frozen=True, slots=True)
class Caller:
    """What a token says: a repository, and its scopes in the order in which they are searched."""

    repository: str
    scopes: tuple[Scope, ...]

    def readable_scopes(self) -> tuple[str, ...]:
        """Raises PermissionDenied where there is none; clients know the message by its beginning."""
        readable = tuple(scope.name for scope in self.scopes if scope.permission & READ)
        if not readable:
            raise PermissionDenied("cache read denied: the token has no scope that it may read")
        return readable

    def writable_scope(self) -> str:
        """The first one: a token names its own ref before its base and the default branch."""
        for scope in self.scopes:
            if scope.permission & WRITE:
                return scope.name
        raise PermissionDenied("cache write denied: the token has no scope that it may write")
