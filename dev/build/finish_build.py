"""Puts into what was built what `sam build` leaves out: `python3.12 -m dev.build.package .aws-sam/build`.

Run by the runtime's own interpreter, with nothing but the standard library.
"""

import compileall
import re
import sys
from pathlib import Path
from py_compile import PycInvalidationMode

from dev.build.package import architecture_of
from dev.build.release import release_of

_ARCHITECTURE = re.compile(
    r"(\n  Architecture:\n    Type: String\n    Default: )\w+(\n    AllowedValues:\n)(?:    - \w+\n)+"
)
"""The parameter in the template that SAM built."""

LAYER = "CoreLayer"
RELEASE_FILE = Path(LAYER, "python", "actions_cache", "release.txt")


def finish(build: Path) -> None:
    """Raises: FileNotFoundError: nothing was built there."""
    stamp(build)
    add_bytecode(build)


def stamp(build: Path) -> Path:
    """Version and commit, for GET /health."""
    place = build / RELEASE_FILE
    place.write_text(f"{release_of()}\n")
    return place


def pin_architecture(build: Path) -> None:
    """Make the build's architecture the only choice, so that CloudFormation refuses to deploy the other one at once.

    Raises:
        ValueError: the build has several architectures, or its template isn't as SAM writes it.
    """
    built, place = architecture_of(build), build / "template.yaml"
    text, count = _ARCHITECTURE.subn(rf"\g<1>{built}\g<2>    - {built}\n", place.read_text())
    if built is None or count != 1:
        raise ValueError(f"{place} can't be made one for {built}")
    place.write_text(text)


def add_bytecode(build: Path) -> None:
    """Else each cold start compiles all that it imports, which takes longer than all the rest of it.

    Lambda keeps nothing of that: what it unpacked can't be written to. By hash and unchecked, since unpacking changes
    the times of files; and with the paths that they have there, so that the same sources make the same package.
    """
    for directory in (path for path in build.iterdir() if path.is_dir()):
        compileall.compile_dir(
            directory,
            maxlevels=99,
            quiet=2,  # libraries carry examples in other versions' syntax
            workers=0,
            invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
            stripdir=str(directory),
            prependdir="/opt" if directory.name == LAYER else "/var/task",
        )


if __name__ == "__main__":
    finish(Path(sys.argv[1]).resolve())
    pin_architecture(Path(sys.argv[1]).resolve())
