"""Lookups of each kind, and the entries among which they look: as a repository of years has them, all alike."""

from collections.abc import Mapping
from typing import Any

from actions_cache.aws.dynamodb_items import entry_attributes
from actions_cache.domain.entry import Entry
from dev.clients.driver import SCOPE, CacheDriver, name

PULL_REQUEST = ("refs/pull/7/merge", "refs/heads/develop", SCOPE)
FIVE = tuple(f"none-{number}-" for number in range(5))
EXACT = "npm-exact"
"""The newest entry; what add_entries adds is older and begins as it does."""

LOOKUPS: Mapping[str, tuple[tuple[str, ...], dict[str, Any], dict[str, int]]] = {
    "exact hit": ((EXACT,), {}, {"BatchGetItem": 1, "GetItem": 1, "UpdateItem": 2}),
    "exact hit in the first of three scopes": (
        (EXACT, *FIVE),
        {"scopes": PULL_REQUEST[::-1]},
        {"BatchGetItem": 1, "GetItem": 1, "UpdateItem": 2},
    ),
    "exact hit in the last of three scopes": (
        (EXACT,),
        {"scopes": PULL_REQUEST},
        {"BatchGetItem": 1, "Query": 2, "GetItem": 1, "UpdateItem": 2},
    ),
    "hit by a prefix that ten have": (
        ("npm-000000",),
        {},
        {"BatchGetItem": 1, "Query": 1, "GetItem": 1, "UpdateItem": 2},
    ),
    "hit by a prefix that all have": (("npm-",), {}, {"BatchGetItem": 1, "Query": 2, "GetItem": 1, "UpdateItem": 2}),
    "miss, with 5 restore keys over 3 scopes": (
        ("none", *FIVE),
        {"scopes": PULL_REQUEST},
        {"BatchGetItem": 1, "Query": 18, "UpdateItem": 1},
    ),
}
"""Keys, what else is asked, and the table requests that it takes; the GetItem is the archive's, the updates count."""


def add_entries(driver: CacheDriver, archive_id: str, first: int, count: int) -> None:
    """Entries of one archive, older than it."""
    model = driver.services.table._entries
    with model.batch_write() as batch:
        for number in range(first, first + count):
            entry = Entry(name(f"npm-{number:07d}"), archive_id, 1, driver.clock.now() - 1_000_000 + number)
            batch.save(model(**entry_attributes(entry)))
