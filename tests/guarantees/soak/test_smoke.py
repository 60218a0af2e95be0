"""A soak run of a few seconds, so that the long one can be relied on."""

from tests.guarantees.soak.run import soak


def test_clients_of_every_kind_find_nothing_wrong_in_a_short_run(tmp_path):
    found = soak(tmp_path, seconds=5, clients=12, seed=1, settles=False)

    assert found.violations == {}, (found.tally.examples, found.audit.violations, found.errors_logged)
    assert {"save", "restore"} <= found.tally.operations.keys()
    assert found.tally.checked_bytes > 0
    assert found.audit.objects > 0
