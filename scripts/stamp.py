"""Puts version and commit into what was built, for GET /health: `python -m scripts.stamp .aws-sam/build`.

Run by any Python from 3.11 on, with nothing but the standard library.
"""

import sys
from pathlib import Path

from local.release import release_of

PLACE = Path("CoreLayer", "python", "actions_cache", "release.txt")


def stamp(build: Path) -> Path:
    """Raises: FileNotFoundError: nothing was built there."""
    place = build / PLACE
    place.write_text(f"{release_of()}\n")
    return place


if __name__ == "__main__":
    stamp(Path(sys.argv[1]))
