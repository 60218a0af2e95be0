"""Entries, as jobs name them, and the reservations that become entries."""

import hashlib
import json
from dataclasses import dataclass

from actions_cache.domain.errors import InvalidRequest
from actions_cache.domain.timing import Millis

MAX_NAME_CHARACTERS = 512
"""Most characters of a key and of a version, the same as in GitHub's service (docs/design/protocol.md#lookup)."""

MAX_RESTORE_KEYS = 32
"""Most restore keys of one lookup. More: a lookup may cost more, since each key is queried in each scope. Fewer:
clients other than @actions/cache, which sends at most ten, may be refused."""

NUMBER_DIGITS = 13
"""Number of hexadecimal digits of an archive's id that are its entry's number: 52 bits, which a double, and so
JavaScript, holds exactly. Fewer: numbers collide sooner."""

MAX_NUMBER = 16**NUMBER_DIGITS
"""Bound below which the numbers of entries and uploads are."""

SORT_KEY_PREFIX_BYTES = 900
"""Bytes of a longer key that its sort key holds beside a digest. More wouldn't fit DynamoDB's 1,024 bytes of sort key;
fewer: more keys share a beginning, which a prefix search must tell apart by reading them."""


@dataclass(frozen=True, slots=True)
class EntryFamily:
    """The entries of one repository, scope and version, among which a lookup searches."""

    repository: str
    scope: str
    version: str

    @property
    def partition(self) -> str:
        """Return the partition key of the family's entries.

        It holds a digest, because a ref and a version may contain any separator and be longer than a partition key.
        """
        digest = hashlib.sha256(json.dumps([self.scope, self.version]).encode()).hexdigest()
        return f"{self.repository}:{digest}"


@dataclass(frozen=True, slots=True)
class EntryName:
    """The full name of an entry, which is unique."""

    family: EntryFamily
    key: str

    @property
    def sort_key(self) -> str:
        return sort_key(self.key)


@dataclass(frozen=True, slots=True)
class Entry:
    """A saved key, which never changes until it is removed."""

    name: EntryName
    archive_id: str
    size: int
    created_at: Millis

    @property
    def id(self) -> int:
        """Return the number by which clients know the entry, below MAX_NUMBER."""
        return int(self.archive_id[:NUMBER_DIGITS], 16)


@dataclass(frozen=True, slots=True)
class Reservation:
    """The hold of one archive on a key while its parts come in."""

    name: EntryName
    archive_id: str
    expires_at: Millis


def numbered_archive_id(number: int) -> str:
    """Return the id of the archive that the v1 API knows by this number, which also becomes its entry's number."""
    digits = f"{number:0{NUMBER_DIGITS}x}"
    return digits + hashlib.sha256(digits.encode()).hexdigest()[: 32 - len(digits)]


def sort_key(key: str) -> str:
    """Return the key itself or, if it is too long for a sort key, its beginning and a digest."""
    if len(key.encode()) <= SORT_KEY_PREFIX_BYTES:
        return key
    return sort_key_prefix(key) + "#" + hashlib.sha256(key.encode()).hexdigest()


def sort_key_prefix(prefix: str) -> str:
    """Return the beginning of the sort key of every key with this prefix.

    If the prefix is longer than what sort keys keep, other keys' sort keys may begin with it too: compare whole keys.
    """
    return prefix.encode()[:SORT_KEY_PREFIX_BYTES].decode(errors="ignore")


def check_name(field: str, value: str) -> str:
    """Return the value of the field after a check.

    Raises:
        InvalidRequest: the value isn't 1 to 512 characters of valid Unicode.
    """
    if not value:
        raise InvalidRequest(f"{field} is missing")
    if len(value) > MAX_NAME_CHARACTERS:
        raise InvalidRequest(f"{field} has {len(value)} characters; at most {MAX_NAME_CHARACTERS} are allowed")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidRequest(f"{field} isn't valid Unicode") from None
    return value
