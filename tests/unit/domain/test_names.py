"""Names become keys of tables and the bucket without collisions, and signatures and scopes are bound to them."""

import base64
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actions_cache.domain.access import Caller, Scope
from actions_cache.domain.archive import Part
from actions_cache.domain.entry import EntryFamily, check_name, sort_key, sort_key_prefix
from actions_cache.domain.errors import InvalidBlockList, InvalidRequest, PermissionDenied
from actions_cache.domain.object_keys import ArchiveKeys
from actions_cache.domain.signing import Direction, check_signature, signed_path
from actions_cache.domain.uploads import assemble, block_list_digest, check_names_each_once
from tests.unit.domain.build import NOW

NAMES = st.text(min_size=1, max_size=512).filter(lambda text: text.isprintable())


@given(NAMES)
def test_key_fits_sort_key(key):
    assert len(sort_key(key).encode()) <= 1024


@given(NAMES, st.integers(0, 512))
def test_key_prefix_finds_its_key(key, length):
    assert sort_key(key).startswith(sort_key_prefix(key[:length]))


@given(NAMES, NAMES)
def test_distinct_keys_have_distinct_sort_keys(one, other):
    assert (sort_key(one) == sort_key(other)) is (one == other)


def test_long_keys_differ_by_last_character():
    assert sort_key("\N{GRINNING FACE}" * 511 + "a") != sort_key("\N{GRINNING FACE}" * 511 + "b")


def test_separator_cannot_merge_families():
    """Otherwise a version could name another scope, and scopes wouldn't be isolated."""
    one, other = EntryFamily("1", "refs/heads/a", "b:v"), EntryFamily("1", "refs/heads/a:b", "v")
    assert one.partition != other.partition
    assert EntryFamily("1", "s", "v").partition != EntryFamily("2", "s", "v").partition


@pytest.mark.parametrize("value", ["", "k" * 513, "\ud800"])
def test_invalid_name_is_refused_with_its_field(value):
    with pytest.raises(InvalidRequest, match="the field"):
        check_name("the field", value)


def test_name_of_512_characters_is_valid():
    assert check_name("key", "\N{GRINNING FACE}" * 512)


KEYS = ArchiveKeys("a" * 32)


def arrival(block_id: str, at: int, size: int = 1) -> Part:
    return Part(KEYS.block(block_id, at, "request"), size, f'"{at}"')


@given(st.permutations([base64.b64encode(uuid.uuid4().bytes).decode() for _ in range(8)]))
def test_block_list_alone_orders_parts(order):
    arrivals = [arrival(block_id, 5) for block_id in sorted(order)]
    assert [part.key for part in assemble(KEYS, order, arrivals)] == [arrival(i, 5).key for i in order]


def test_resent_block_replaces_earlier_one():
    arrivals = [arrival("YQ==", 7, 70), arrival("YQ==", 9, 90), arrival("YQ==", 8, 80), arrival("Yg==", 1)]
    assert [part.size for part in assemble(KEYS, ["YQ=="], arrivals)] == [90]


def test_duplicate_block_is_refused():
    check_names_each_once(["YQ==", "Yg==", "yq=="])
    with pytest.raises(InvalidBlockList, match="'Yg==' twice"):
        check_names_each_once(["YQ==", "Yg==", "Yg=="])


def test_missing_block_is_named():
    with pytest.raises(InvalidBlockList, match="Yg=="):
        assemble(KEYS, ["YQ==", "Yg=="], [arrival("YQ==", 7)])


@pytest.mark.parametrize("block_id", ["", "a", "not base64!", "YQ", base64.b64encode(b"x" * 65).decode(), "../../x"])
def test_invalid_block_id_is_refused(block_id):
    with pytest.raises(InvalidRequest):
        KEYS.block_prefix(block_id)


@given(st.binary(min_size=1, max_size=64), st.binary(min_size=1, max_size=64))
def test_block_ids_and_keys_map_one_to_one(one, other):
    prefixes = [KEYS.block_prefix(base64.b64encode(raw).decode()) for raw in (one, other)]
    assert (prefixes[0] == prefixes[1]) is (one == other)
    assert prefixes[0].removeprefix(KEYS.blocks_prefix).count("/") == 1


def test_digest_depends_on_order_and_content():
    assert len({block_list_digest(ids) for ids in (["YQ==", "Yg=="], ["Yg==", "YQ=="], ["YQ=="], [])}) == 4


def test_signature_is_bound_and_expires():
    """Repositories and scopes are isolated from each other."""
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


def test_scopes_follow_token_order():
    caller = Caller("1", (Scope("pr", 1), Scope("main", 3), Scope("secret", 0), Scope("other", 2)))
    assert caller.writable_scope() == "main"
    assert caller.readable_scopes() == ("pr", "main")


def test_token_permissions_are_enforced():
    with pytest.raises(PermissionDenied, match=r"^cache write denied: "):
        Caller("1", (Scope("pr", 1),)).writable_scope()
    with pytest.raises(PermissionDenied, match=r"^cache read denied: "):
        Caller("1", (Scope("pr", 2),)).readable_scopes()
