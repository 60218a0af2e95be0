"""Our own URLs: signed, checked, never stored."""

from dataclasses import dataclass

from actions_cache.domain.signed_url import Direction, check_signature, signed_path
from actions_cache.domain.timing import Millis
from actions_cache.ports import Clock, SigningSecrets


@dataclass(frozen=True, slots=True)
class UrlSigner:
    secrets: SigningSecrets
    clock: Clock

    def sign(self, direction: Direction, archive_id: str, expires_at: Millis) -> str:
        return signed_path(direction, archive_id, expires_at, self.secrets.current()[0])

    def check(self, direction: Direction, archive_id: str, expires: str, signature: str) -> None:
        """Raises: PermissionDenied when altered, signed for something else, or expired."""
        check_signature(direction, archive_id, expires, signature, self.clock.now(), self.secrets.current())
