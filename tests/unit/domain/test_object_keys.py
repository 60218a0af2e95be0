import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actions_cache.domain.errors import InvalidRequest
from actions_cache.domain.object_keys import ArchiveKeys

KEYS = ArchiveKeys("a" * 32)


@pytest.mark.parametrize("block_id", ["", "a", "not base64!", "YQ", base64.b64encode(b"x" * 65).decode(), "../../x"])
def test_invalid_block_id_is_refused(block_id):
    with pytest.raises(InvalidRequest):
        KEYS.block_prefix(block_id)


@given(st.binary(min_size=1, max_size=64), st.binary(min_size=1, max_size=64))
def test_block_ids_and_keys_map_one_to_one(one, other):
    prefixes = [KEYS.block_prefix(base64.b64encode(raw).decode()) for raw in (one, other)]
    assert (prefixes[0] == prefixes[1]) is (one == other)
    assert prefixes[0].removeprefix(KEYS.blocks_prefix).count("/") == 1


@pytest.mark.parametrize("offset", [None, "", "x", "-1", "1" * 16, "²"])
def test_invalid_offset_counts_as_none(offset):
    assert KEYS.offset_of_appended(KEYS.appended(offset, 1, "request")) is None
    assert KEYS.offset_of_appended(KEYS.appended("007", 1, "request")) == 7
