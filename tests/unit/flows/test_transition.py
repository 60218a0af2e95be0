"""Nothing gets stuck: a write whose answer was lost."""

from actions_cache.domain import claim
from actions_cache.ports import WriteConflict
from dev.clients.driver import name


def test_lost_claim_response_still_sends_message(driver, monkeypatch):
    """botocore asks again after a timeout, and the retry meets its own first write."""
    with monkeypatch.context() as before:
        before.setattr(claim, "claimed", lambda *_: None)
        entry = driver.save(name("npm"), b"one", b"two")
    table = driver.services.table
    written = table.replace_archive

    def answer_lost(seen, by):
        monkeypatch.setattr(table, "replace_archive", written)
        written(seen, by)
        raise WriteConflict

    monkeypatch.setattr(table, "replace_archive", answer_lost)
    assert driver.services.claim_merge(entry.archive_id)
    assert len(driver.messages()) == 1
