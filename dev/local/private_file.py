"""Files with credentials in them."""

from pathlib import Path


def write_private(path: Path, text: str) -> None:
    """For its owner only, and whole or not at all."""
    unfinished = path.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    unfinished.touch(mode=0o600)
    unfinished.write_text(text)
    unfinished.replace(path)
