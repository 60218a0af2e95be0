"""Group keys that differ only in hashes, numbers, versions and dates into families, and bound how many are counted."""

import re
from dataclasses import dataclass

from actions_cache.domain.errors import InvalidRequest

MAX_BYTES = 128
"""Maximum length of a family's name. Longer: long keys that differ late are told apart. Shorter: an item with the names
of two families stays below the 1 KB of one write unit, whatever its repository's id."""

MAX_PAIRS = 64
"""Pairs of families that are counted by themselves in each hour of a repository, the first to come; all others are
counted together. More: more of a busy repository is told apart. Fewer: fewer items to read."""

ANY = "*"
"""Stands for what differs between the keys of a family."""

_TIME = re.compile(
    r"(?<![0-9])[0-9]{4}(-?)[0-9]{2}\1[0-9]{2}[T_ ][0-9]{2}[:.-]?[0-9]{2}(?:[:.-]?[0-9]{2}(?:[.,][0-9]+)?)?"
    r"(?:Z|[+-][0-9]{2}:?[0-9]{2})?(?![A-Za-z0-9])"
)
"""A date with a time of day; dates alone are numbers."""

_BASE64_DIGEST = re.compile(
    r"(?<![A-Za-z0-9])(?:[\w+/-]{86}|[\w+/-]{43}|[\w+/-]{27}|[\w+/-]{22})(?:={1,2}|(?![\w+/-]))", re.ASCII
)
"""What is as long as a SHA-512, SHA-256, SHA-1 or MD5 in base64, by either alphabet, padded or not. Its end must be
clear, since a hyphen may be a digit or stand between two words."""

_UUID = re.compile(r"(?<![A-Za-z0-9])[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}(?![A-Za-z0-9])")

_DIRECTORIES_OF_HASH = re.compile(
    r"(?<![^/])(?:(?:[0-9A-Fa-f]/)+(?=[0-9A-Fa-f]{7})|([0-9A-Fa-f]{2})/(?=\1[0-9A-Fa-f]{5}))"
)
"""Directories named by the first digits of the hash in them, as sccache's `a/b/c/abc123`."""

_WORD = re.compile(
    r"(?P<name>(?:x86[_-]64|x(?:86|64|32)|amd64|arm(?:32|64|v[678]\w?)|aarch64|i[3-6]86|win(?:32|64)|wasm(?:32|64)"
    r"|ppc64(?:le)?|s390x|mips(?:64|32)?(?:el)?|riscv64|sha(?:1|224|256|384|512)|md5|base64|utf8)(?![A-Za-z0-9]))"
    r"|[A-Za-z0-9]+",
    re.ASCII | re.IGNORECASE,
)
"""A word; by name, if it is one of an architecture, digest or encoding, whose digits are no number."""

_HASH = re.compile(r"[0-9A-Fa-f]{7,}|(?=.{12})[A-Za-z]*[0-9]+[A-Za-z]+[0-9][A-Za-z0-9]*")
"""Seven hexadecimal digits, as in git's short hashes, or a longer word with two numbers in it, as in base 32 or 36."""

_NUMBER = re.compile(r"^[0-9]+|[0-9]+$")
"""A number at either end of a word; one inside, as in `e2e`, is part of it."""

_UNFINISHED = re.compile(r"(?<=[-_./:,#|])\Z")
"""The end of a key that is only the beginning of what its client saves, as ccache-action's `ccache-linux-`."""

_REPEATED = re.compile(r"\*(?:[-_./:,+ ]?\*)+")


@dataclass(frozen=True, slots=True)
class FamilyPair:
    """Names the family of a key that a job looked up or saved, and the one that it matched instead.

    Args:
        asked: family of the job's key.
        matched: family of the entry that was found by another key; None if that is the same, or there is none.
    """

    asked: str
    matched: str | None = None


def pair_of(asked_key: str, matched_key: str | None = None) -> FamilyPair:
    asked = key_family(asked_key)
    matched = asked if matched_key is None else key_family(matched_key)
    return FamilyPair(asked, None if matched == asked else matched)


def key_family(key: str) -> str:
    """Return the key with `*` for hashes, numbers, versions and dates, in at most MAX_BYTES.

    A family's family is itself. Keys that are alike by chance share a family, which only counts them together.
    """
    family = _shortened(_generalized(key))
    # What was left out, or cut off, can leave a word that looks like a hash; each round has fewer letters and digits.
    while (again := _shortened(_generalized(family))) != family:
        family = again
    return family


def parse_family(field: str, text: str) -> str:
    """Return the key family that somebody named.

    Args:
        field: name of the parameter, for the error.
        text: its value.

    Raises:
        InvalidRequest: it is a key, whose family has other keys too.
    """
    family = key_family(text)
    if family != text:
        raise InvalidRequest(f"{field}: {text[:100]!r} is no key family; such keys belong to {family!r}")
    return family


def _generalized(key: str) -> str:
    text = _UUID.sub(ANY, _TIME.sub(ANY, key))
    text = _BASE64_DIGEST.sub(lambda found: ANY if _is_random(found[0]) else found[0], text)
    text = _DIRECTORIES_OF_HASH.sub(f"{ANY}/", text)
    text = _WORD.sub(_without_numbers, text)
    return _REPEATED.sub(ANY, _UNFINISHED.sub(ANY, text))


def _is_random(text: str) -> bool:
    """Return whether the text has upper and lower case and digits nearly as often as base64 of random bytes has.

    There, a letter is upper or lower case in 26 of 64 cases each, and a digit in 10.
    """
    upper, lower, digits = (sum(map(kind, text)) for kind in (str.isupper, str.islower, str.isdigit))
    return min(upper, lower) >= len(text) // 6 and digits >= max(1, len(text) // 25)


def _without_numbers(word: re.Match[str]) -> str:
    if word["name"]:
        return word[0]
    return ANY if _HASH.fullmatch(word[0]) else _NUMBER.sub(ANY, word[0])


def _shortened(family: str) -> str:
    encoded = family.encode(errors="replace")
    if len(encoded) > MAX_BYTES:
        encoded = encoded[: MAX_BYTES - len(ANY)]
        return encoded.decode(errors="ignore") + ANY
    return encoded.decode()
