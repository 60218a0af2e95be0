"""The release that is running, as the build stamped it; the build itself reads this module without any package."""

from dataclasses import dataclass
from pathlib import Path

STAMP = Path(__file__).with_name("release.txt")
"""File that dev/build/package.py puts beside this module in a build."""

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Release:
    version: str = UNKNOWN
    commit: str = UNKNOWN
    """Commit, with `.changed` at its end where files differed from it."""

    @classmethod
    def parse(cls, text: str) -> "Release":
        """Return the release of a text `version+commit`, as in semver."""
        version, _, commit = text.strip().partition("+")
        return cls(version or UNKNOWN, commit or UNKNOWN)

    def __str__(self) -> str:
        return f"{self.version}+{self.commit}"


def stamped(stamp: Path = STAMP) -> Release:
    """Return the build's release; unknown where `sam build` alone made it."""
    return Release.parse(stamp.read_text()) if stamp.is_file() else Release()
