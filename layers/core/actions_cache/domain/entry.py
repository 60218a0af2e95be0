"""What jobs name: entries, and the reservations that become entries."""

import hashlib
import json
from dataclasses import dataclass

from actions_cache.domain.errors import InvalidRequest
from actions_cache.domain.timing import Millis

MAX_NAME_CHARACTERS = 512
"""Of a key, and of a version, as the real service has it (docs/design/protocol.md#lookup)."""

MAX_RESTORE_KEYS = 32
"""Of one lookup. Each costs a query in each scope; @actions/cache sends ten at most."""

NUMBER_DIGITS = 13
"""So many of an archive's id are its entry's number: 52 bits, since JavaScript reads it as a double."""

MAX_NUMBER = 16**NUMBER_DIGITS
"""Entries and uploads are numbered below it."""

SORT_KEY_PREFIX_BYTES = 900
"""What of a key fits, beside a digest, into DynamoDB's 1,024 bytes of sort key."""


@dataclass(frozen=True, slots=True)
class EntryFamily:
    """The entries that one lookup can match: same repository, scope and version."""

    repository: str
    scope: str
    version: str

    @property
    def partition(self) -> str:
        """Digested: a ref and a version may hold any separator and be longer than a partition key."""
        digest = hashlib.sha256(json.dumps([self.scope, self.version]).encode()).hexdigest()
        return f"{self.repository}:{digest}"


@dataclass(frozen=True, slots=True)
class EntryName:
    family: EntryFamily
    key: str

    @property
    def sort_key(self) -> str:
        return sort_key(self.key)


@dataclass(frozen=True, slots=True)
class Entry:
    """A saved key; it never changes until it is removed."""

    name: EntryName
    archive_id: str
    size: int
    created_at: Millis

    @property
    def id(self) -> int:
        """A number for clients, below MAX_NUMBER."""
        return int(self.archive_id[:NUMBER_DIGITS], 16)


@dataclass(frozen=True, slots=True)
class Reservation:
    """Holds a key for one archive while its parts come in."""

    name: EntryName
    archive_id: str
    expires_at: Millis


def numbered_archive_id(number: int) -> str:
    """The id of an archive that the v1 API names by a number, which is its entry's too: the rest follows from it."""
    digits = f"{number:0{NUMBER_DIGITS}x}"
    return digits + hashlib.sha256(digits.encode()).hexdigest()[: 32 - len(digits)]


def sort_key(key: str) -> str:
    """The key itself, or where it is longer than a sort key may be, its beginning and a digest."""
    if len(key.encode()) <= SORT_KEY_PREFIX_BYTES:
        return key
    return sort_key_prefix(key) + "#" + hashlib.sha256(key.encode()).hexdigest()


def sort_key_prefix(prefix: str) -> str:
    """What the sort key of every key with this prefix begins with.

    For a prefix longer than what sort keys keep, other keys may begin so too: compare the whole key.
    """
    return prefix.encode()[:SORT_KEY_PREFIX_BYTES].decode(errors="ignore")


def check_name(field: str, value: str) -> str:
    """Raises InvalidRequest unless the field has 1 to 512 characters of valid Unicode."""
    if not value:
        raise InvalidRequest(f"{field} is missing")
    if len(value) > MAX_NAME_CHARACTERS:
        raise InvalidRequest(f"{field} has {len(value)} characters; at most {MAX_NAME_CHARACTERS} are allowed")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidRequest(f"{field} isn't valid Unicode") from None
    return value
