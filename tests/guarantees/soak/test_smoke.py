"""A soak run of a few seconds, which shows that the long one works."""

from tests.guarantees.soak.run import soak


def test_short_soak_finds_no_violation(tmp_path):
    found = soak(tmp_path, seconds=5, clients=12, seed=1, settles=False)

    assert found.violations == {}, (found.tally.examples, found.audit.violations, found.errors_logged)
    assert {"save", "restore"} <= found.tally.operations.keys()
    assert found.tally.checked_bytes > 0
    assert found.audit.objects > 0
