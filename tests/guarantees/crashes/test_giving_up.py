"""Nothing gets stuck: a merge that no worker survives is given up, where people see it."""

import pytest

from actions_cache.archives import transition
from actions_cache.domain import claim
from actions_cache.domain.archive import MergeState
from actions_cache.domain.timing import SECOND
from actions_cache.ports import MergeMessage
from dev.clients.driver import CacheDriver, name, plenty


def test_message_of_a_given_up_merge_goes_on_failing(driver: CacheDriver):
    """The message becomes a dead letter. The schedule retakes a dead run's claim long before it comes again."""
    services = driver.services
    entry = driver.save(name("npm-1"), b"one", b"two")
    messages: list[MergeMessage] = []
    for _ in range(services.settings.merge_attempts):
        messages += driver.messages()
        _start_a_run(driver, messages[-1])
        driver.clock.advance(services.lifetimes.merge_lease / SECOND + 1)
        driver.clean_up()
    given_up = driver.archive(entry.archive_id)
    assert given_up.merge.state is MergeState.FAILED
    *older, last = messages
    for message in older:
        services.merge(message, plenty)
    with pytest.raises(Exception, match="given up"):
        services.merge(last, plenty)
    assert driver.archive(entry.archive_id) == given_up


def _start_a_run(driver: CacheDriver, message: MergeMessage) -> None:
    """Start a run whose worker then crashes."""
    services, token, now = driver.services, message.claim_token, driver.clock.now()
    lifetimes, attempts = services.lifetimes, services.settings.merge_attempts
    transition(
        services.table,
        message.archive_id,
        lambda seen: claim.started(seen, token, "dead run", now, lifetimes, attempts),
    )
