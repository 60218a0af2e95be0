"""Which release runs: its version, and the commit that it was built from."""

from dataclasses import dataclass
from pathlib import Path

STAMP = Path(__file__).with_name("release.txt")
"""Put beside this module, in what was built, by dev/build/finish_build.py."""

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Release:
    version: str = UNKNOWN
    commit: str = UNKNOWN
    """Ends with `.changed` where files differed from it."""

    @classmethod
    def parse(cls, text: str) -> "Release":
        """Of `version+commit`, as semver has it."""
        version, _, commit = text.strip().partition("+")
        return cls(version or UNKNOWN, commit or UNKNOWN)

    def __str__(self) -> str:
        return f"{self.version}+{self.commit}"


def stamped(stamp: Path = STAMP) -> Release:
    """Unknown in what was built by `sam build` alone."""
    return Release.parse(stamp.read_text()) if stamp.is_file() else Release()
