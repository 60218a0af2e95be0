"""ETags as checksums, compared with values that were computed elsewhere."""

import pytest

from actions_cache.domain.archive import Part
from actions_cache.domain.checksum import StreamVerifier, etag_of, etag_of_upload, etags_conflict
from actions_cache.domain.ranges import PartRange, full_range

EMPTY, A, ABC = (
    '"d41d8cd98f00b204e9800998ecf8427e"',
    '"0cc175b9c0f1b6a831c399e269772661"',
    '"900150983cd24fb0d6963f7d28e17f72"',
)


def test_put_etag_is_md5_of_its_bytes():
    """The values are from RFC 1321, A.5."""
    assert etag_of([]) == etag_of([b""]) == EMPTY
    assert etag_of([b"abc"]) == etag_of([b"a", b"", b"bc"]) == ABC


def test_multipart_etag_combines_part_etags():
    assert etag_of_upload([A, ABC]) == etag_of_upload([A.strip('"'), ABC]) != etag_of_upload([ABC, A])
    two = ["bce6bf66aeb76c7040fdd5f4eccb78e6", "8165449fc15bbf43d3b674595cbcc406"]
    assert etag_of_upload(two) == '"f77dc0eecdebcd774a2a22cb393ad2ff-2"', "an example that S3 published"
    assert etag_of_upload([A, '"1c9190da1ea89315f72766445a55bb8b-2"']) is None


@pytest.mark.parametrize(
    ("one", "other", "differ"),
    [
        (A, A, False),
        (A, A.strip('"'), False),
        (A, ABC, True),
        (A, '"1c9190da1ea89315f72766445a55bb8b-2"', False),
        ('"etag"', ABC, False),
    ],
)
def test_only_md5_etags_conflict(one, other, differ):
    assert etags_conflict(one, other) is etags_conflict(other, one) is differ


PARTS = [Part("a", 1, A), Part("nothing", 0, EMPTY), Part("abc", 3, ABC), Part("copied", 2, '"etag"')]


def altered_parts(content: bytes, *ranges: PartRange, step: int = 1) -> list[str]:
    verifier = StreamVerifier(ranges or map(full_range, PARTS))
    chunks = [content[at : at + step] for at in range(0, len(content), step)]
    return [part.key for chunk in chunks if (part := verifier.feed(chunk)) is not None]


@pytest.mark.parametrize("step", [1, 2, 3, 100])
def test_altered_part_is_found_in_any_chunking(step):
    assert altered_parts(b"aabc??", step=step) == []
    assert altered_parts(b"babc??", step=step)[:1] == ["a"]
    assert altered_parts(b"aabd??", step=step) == ["abc"]
    verifier = StreamVerifier(map(full_range, PARTS))
    assert [verifier.feed(chunk) for chunk in (b"a", b"a", b"b")] == [None] * 3
    assert verifier.feed(b"d") == PARTS[2], "before the last byte"


def test_partial_part_is_skipped_and_next_checked():
    assert altered_parts(b"xya", PartRange(PARTS[2], 1, 3), full_range(PARTS[0])) == []
    assert altered_parts(b"xyb", PartRange(PARTS[2], 1, 3), full_range(PARTS[0])) == ["a"]
