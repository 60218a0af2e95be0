"""A soak run of a few seconds, which shows that the long one works, and the rule by which it finds a leak."""

from tests.guarantees.soak.run import Memory, soak


def test_short_soak_finds_no_violation(tmp_path):
    found = soak(tmp_path, seconds=5, clients=12, seed=1, settles=False)

    assert found.violations == {}, (found.tally.examples, found.audit.violations, found.errors_logged)
    assert {"save", "restore"} <= found.tally.seconds.keys()
    assert found.tally.counts["bytes checked"] > 0
    assert found.audit.objects > 0


def test_memory_that_keeps_growing_is_a_violation():
    assert not Memory([(second, 100 + second / 6) for second in range(900)]).is_flat()
    assert Memory([(second, 100 + min(second, 200)) for second in range(900)]).is_flat()
