"""Nothing gets stuck: a merge that no worker survives is given up, and people see it."""

import pytest

from actions_cache.archives import transition
from actions_cache.domain import claim
from actions_cache.domain.archive import MergeState
from actions_cache.domain.timing import SECOND
from actions_cache.ports import MergeMessage
from tests.support.journey import Journey, name, plenty


def start_a_run(journey: Journey, message: MergeMessage) -> None:
    """Of a worker that then dies."""
    services, now = journey.services, journey.clock.now()
    transition(
        services.table,
        message.archive_id,
        lambda seen: claim.started(
            seen, message.claim_token, "dead run", now, services.lifetimes, services.settings.merge_attempts
        ),
    )


def test_the_message_of_a_merge_that_was_given_up_fails_so_that_it_goes_on_to_the_dead_letter_queue(journey: Journey):
    """The schedule retakes what died long before the queue delivers its message again: that alone counts no tries."""
    services = journey.services
    entry = journey.save(name("npm-1"), b"one", b"two")
    messages: list[MergeMessage] = []
    for _ in range(services.settings.merge_attempts):
        messages += journey.messages()
        start_a_run(journey, messages[-1])
        journey.clock.advance(services.lifetimes.merge_lease / SECOND + 1)
        journey.clean_up()
    given_up = journey.archive(entry.archive_id)
    assert given_up.merge.state is MergeState.FAILED
    *older, last = messages
    for message in older:
        services.merge(message, plenty)
    with pytest.raises(Exception, match="given up"):
        services.merge(last, plenty)
    assert journey.archive(entry.archive_id) == given_up
