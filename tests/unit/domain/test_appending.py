import pytest

from actions_cache.domain.archive import Part
from actions_cache.domain.errors import InvalidRequest
from actions_cache.domain.object_keys import ArchiveKeys
from actions_cache.domain.uploads import assemble_appended

KEYS = ArchiveKeys("0" * 32)


def piece(at: int, size: int = 10, offset: str | None = None) -> Part:
    return Part(KEYS.appended(offset, at, "request"), size, f"{at}")


def etags(*arrivals: Part) -> str:
    return "".join(part.etag for part in assemble_appended(KEYS, arrivals))


def test_chunks_are_ordered_by_arrival():
    assert etags(piece(3, offset="20"), piece(1), piece(2, offset="10"), piece(4)) == "1234"
    assert etags() == ""


def test_resent_chunk_replaces_first():
    assert etags(piece(1), piece(2, offset="10"), piece(3, offset="10"), piece(4, offset="20")) == "134"
    assert etags(piece(1), piece(2, offset="10"), piece(3, offset="20"), piece(4, offset="0")) == "423"


@pytest.mark.parametrize("offset", ["5", "11", "999999999999999"])
def test_chunk_at_unknown_offset_is_refused(offset):
    with pytest.raises(InvalidRequest, match=f"appended at {offset}, but 10 bytes"):
        etags(piece(1), piece(2, offset=offset))


def test_offsets_count_from_chunk_without_offset():
    """Azure's SDK begins each of its uploads so, and is told 0; a second one goes on after the first."""
    first = (piece(1), piece(2, offset="10"), piece(3, offset="20"))
    second = (piece(4, 5), piece(6, 7, offset="5"), piece(5, 7, offset="12"))
    assert etags(*first, *second) == "123465"


def test_resent_chunk_leaves_earlier_series_alone():
    assert etags(piece(1), piece(2, offset="10"), piece(3), piece(4, offset="10")) == "1234"


def test_offsets_may_count_from_blob_start():
    assert etags(piece(1, offset="0"), piece(2), piece(3, offset="20"), piece(4)) == "1234"


def test_chunk_of_other_length_is_refused():
    with pytest.raises(InvalidRequest):
        etags(piece(1), piece(2, offset="10"), piece(3, 11, offset="10"))


@pytest.mark.parametrize("offset", [None, "", "x", "-1", "1" * 16, "²"])
def test_invalid_offset_counts_as_none(offset):
    assert KEYS.offset_of_appended(KEYS.appended(offset, 1, "request")) is None
    assert KEYS.offset_of_appended(KEYS.appended("007", 1, "request")) == 7
