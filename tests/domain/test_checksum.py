"""ETags as checksums, against values that were computed elsewhere."""

import pytest

from actions_cache.domain.checksum import contradict, etag_of, etag_of_upload

EMPTY, A, ABC = (
    '"d41d8cd98f00b204e9800998ecf8427e"',
    '"0cc175b9c0f1b6a831c399e269772661"',
    '"900150983cd24fb0d6963f7d28e17f72"',
)


def test_the_etag_of_a_put_is_the_md5_of_its_bytes_however_they_are_cut():
    """RFC 1321, A.5."""
    assert etag_of([]) == etag_of([b""]) == EMPTY
    assert etag_of([b"abc"]) == etag_of([b"a", b"", b"bc"]) == ABC


def test_the_etag_of_an_upload_is_made_of_its_parts_in_their_order():
    assert etag_of_upload([A, ABC]) == etag_of_upload([A.strip('"'), ABC]) != etag_of_upload([ABC, A])
    two = ["bce6bf66aeb76c7040fdd5f4eccb78e6", "8165449fc15bbf43d3b674595cbcc406"]
    assert etag_of_upload(two) == '"f77dc0eecdebcd774a2a22cb393ad2ff-2"', "a published example of S3's"


def test_of_an_upload_with_a_part_whose_etag_is_no_md5_nothing_is_known():
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
def test_only_two_md5s_can_contradict_each_other(one, other, differ):
    assert contradict(one, other) is contradict(other, one) is differ
