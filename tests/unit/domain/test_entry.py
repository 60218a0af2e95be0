import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from actions_cache.domain.entry import (
    Entry,
    EntryFamily,
    EntryName,
    check_name,
    numbered_archive_id,
    sort_key,
    sort_key_prefix,
)
from actions_cache.domain.errors import InvalidRequest

NAMES = st.text(min_size=1, max_size=512).filter(lambda text: text.isprintable())


@given(NAMES)
def test_key_fits_sort_key(key):
    assert len(sort_key(key).encode()) <= 1024


@given(NAMES, st.integers(0, 512))
def test_key_prefix_finds_its_key(key, length):
    assert sort_key(key).startswith(sort_key_prefix(key[:length]))


@given(NAMES, NAMES)
@example("\N{GRINNING FACE}" * 511 + "a", "\N{GRINNING FACE}" * 511 + "b")
def test_distinct_keys_have_distinct_sort_keys(one, other):
    assert (sort_key(one) == sort_key(other)) is (one == other)


def test_separator_cannot_merge_families():
    """A version could otherwise lead into another scope."""
    one, other = EntryFamily("1", "refs/heads/a", "b:v"), EntryFamily("1", "refs/heads/a:b", "v")
    assert one.partition != other.partition
    assert EntryFamily("1", "s", "v").partition != EntryFamily("2", "s", "v").partition


@pytest.mark.parametrize("value", ["", "k" * 513, "\ud800"])
def test_invalid_name_is_refused_with_its_field(value):
    with pytest.raises(InvalidRequest, match="the field"):
        check_name("the field", value)
    assert check_name("key", "\N{GRINNING FACE}" * 512)


def test_upload_number_leads_to_its_archive():
    name = EntryName(EntryFamily("1", "refs/heads/main", "v"), "key")
    for number in (1, 16**13 - 1):
        archive_id = numbered_archive_id(number)
        assert len(archive_id) == 32
        assert Entry(name, archive_id, 0, 0).id == number
