"""Signed URLs, and the rotation of the secrets that sign them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actions_cache.aws.secrets import SIGNING_CACHED_SECONDS
from actions_cache.domain.errors import PermissionDenied
from actions_cache.domain.signing import (
    SETTLE,
    Direction,
    Keyring,
    Phase,
    RotationTimes,
    advanced,
    check_signature,
    known_to_edge,
    signed_path,
    unknown_to_edge,
)
from actions_cache.domain.timing import DAY, SECOND
from tests.unit.domain.build import NOW


def test_signature_is_bound_and_expires():
    path, _, query = signed_path(Direction.UPLOAD, "abc", NOW + 60_000, "secret").partition("?")
    expires, signature = (pair.partition("=")[2] for pair in query.split("&"))
    assert path == "/blobs/upload/abc"

    def check(direction=Direction.UPLOAD, archive="abc", expires=expires, now=NOW, secrets=("secret",)):
        check_signature(direction, archive, expires, signature, now, secrets)

    check()
    check(secrets=("newer", "secret"))
    for altered in (
        {"direction": Direction.DOWNLOAD},
        {"archive": "abd"},
        {"expires": str(int(expires) + 1)},
        {"expires": "soon"},
        {"now": NOW + 60_000},
        {"secrets": ("other",)},
    ):
        with pytest.raises(PermissionDenied):
            check(**altered)


TIMES = RotationTimes(interval=30 * DAY, url_life=3600 * SECOND)
SETTLED = Keyring(current="old", changed_at=NOW)
INTRODUCED = Keyring(current="old", next="new", changed_at=NOW)
PROMOTED = Keyring(current="new", previous="old", changed_at=NOW)

STEPS = {
    "a settled ring after the interval": (SETTLED, 30 * DAY, Keyring(current="old", next="new")),
    "an introduced one once all know it": (INTRODUCED, SETTLE, Keyring(current="new", previous="old")),
    "a promoted one after the last URL's life": (PROMOTED, 3600 * SECOND + SETTLE, Keyring(current="new")),
}


@pytest.mark.parametrize(("ring", "duration", "following"), STEPS.values(), ids=STEPS)
def test_step_is_taken_when_due_and_confirmed_by_edge(ring, duration, following):
    assert advanced(ring, NOW + duration - 1, TIMES, "new") is None
    assert advanced(ring, NOW + duration, TIMES, "new") == following
    assert following.changed_at is None
    assert advanced(unknown_to_edge(ring), NOW + 10 * duration, TIMES, "new") is None


@pytest.mark.parametrize("ring", [SETTLED, INTRODUCED, PROMOTED], ids=lambda ring: ring.phase)
def test_edge_update_restarts_phase_wait(ring):
    later = NOW + 5 * DAY
    known = known_to_edge(unknown_to_edge(ring), later)
    assert advanced(known, later + TIMES.of(ring.phase) - 1, TIMES, "new") is None
    assert advanced(known, later + TIMES.of(ring.phase), TIMES, "new") is not None


@pytest.mark.parametrize(
    ("ring", "phase", "verifying"),
    [
        (SETTLED, Phase.SETTLED, ("old",)),
        (INTRODUCED, Phase.INTRODUCED, ("old", "new")),
        (PROMOTED, Phase.PROMOTED, ("new", "old")),
    ],
    ids=["settled", "introduced", "promoted"],
)
def test_slots_determine_phase_and_verifiers(ring, phase, verifying):
    assert (ring.phase, ring.verifying) == (phase, verifying)
    assert not [secret for secret in verifying if secret in f"{ring!r} {ring}"]
    # Once for the functions' caches, once for the edge's; the rest is for races.
    assert SETTLE >= 2 * SIGNING_CACHED_SECONDS * SECOND


@given(st.sampled_from([SETTLED, INTRODUCED, PROMOTED]), st.integers(0, 100 * DAY))
def test_adjacent_steps_verify_each_other(ring, passed):
    following = advanced(ring, NOW + passed, TIMES, "newest") or ring
    assert following.current in ring.verifying
    assert ring.current in following.verifying
    assert following.verifying != ring.verifying or following is ring
