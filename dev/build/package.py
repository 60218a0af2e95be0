"""Finishes what `sam build` made, and checks it: `python3.12 -m dev.build.package .aws-sam/build arm64`.

Run by the runtime's own interpreter, with nothing but the standard library.
"""

import compileall
import os
import platform
import re
import subprocess
import sys
from importlib.util import cache_from_source
from pathlib import Path
from py_compile import PycInvalidationMode

from dev.build.release import ROOT, release_of

ARCHITECTURE = "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64"
BUILD = ROOT / ".aws-sam" / ("build" if ARCHITECTURE == "arm64" else "x86_64/build")
"""Directory of the build for this machine, as build.sh makes it."""

LAYER = "CoreLayer"
RELEASE_FILE = Path(LAYER, "python", "actions_cache", "release.txt")
LARGEST_UNZIPPED_MB = 250
"""Lambda's limit for a function and its layers together."""

HTTP_ONLY = ("fastapi", "starlette", "aiohttp", "mangum")
HTTP_FUNCTIONS = ("ApiFunction", "DownloadFunction", "ManageFunction")
STREAMING_FUNCTIONS = ("DownloadFunction",)
TESTS_ONLY = ("pytest", "moto", "hypothesis", "mypy")
ELF_MACHINES = {62: "x86_64", 183: "arm64"}

ENVIRONMENT = dict.fromkeys(
    [
        "ENTRIES_TABLE",
        "RESERVATIONS_TABLE",
        "ARCHIVES_TABLE",
        "REPOSITORIES_TABLE",
        "BUCKET",
        "MERGE_QUEUE_URL",
        "URL_SIGNING_SECRET_ARN",
    ],
    "placeholder",
) | {"AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}
"""Settings without defaults, for the import of a handler, which calls no AWS service."""

_ARCHITECTURE_PARAMETER = re.compile(
    r"(\n  Architecture:\n    Type: String\n    Default: )\w+(\n    AllowedValues:\n)(?:    - \w+\n)+"
)


def main(build: Path, architecture: str) -> list[str]:
    """Finish the build, print how large it is, and return what is wrong with it."""
    finish(build)
    pin_architecture(build)
    functions = sorted(build.glob("*Function"))
    layer_mb = megabytes(build / LAYER)
    print(f"\n{architecture:18} MB unzipped")
    for function in functions:
        print(f"{function.name:18} {megabytes(function):6.1f}")
    print(f"{LAYER:18} {layer_mb:6.1f}\n")

    problems = [problem for function in functions for problem in misplaced_packages(build, function)]
    problems += [
        f"{function.name} and {LAYER} are over {LARGEST_UNZIPPED_MB} MB"
        for function in functions
        if megabytes(function) + layer_mb > LARGEST_UNZIPPED_MB
    ]
    if not (build / RELEASE_FILE).is_file():
        problems.append(f"{LAYER} doesn't say which release it is")
    if (built := architecture_of(build)) != architecture:
        problems.append(f"{build} was built for {built or 'no single architecture'}, not for {architecture}")
    problems += [f"{source.relative_to(build)} has no bytecode" for source in uncompiled(build)]
    if architecture == platform.machine():
        problems += [error for function in functions if (error := import_error(build, function))]
    return problems


# ---------------------------------------------------------------- what `sam build` leaves out


def finish(build: Path) -> None:
    """Add the release and the bytecode.

    Raises:
        FileNotFoundError: nothing was built there.
    """
    (build / RELEASE_FILE).write_text(f"{release_of()}\n")
    add_bytecode(build)


def pin_architecture(build: Path) -> None:
    """Make the build's architecture the only choice, so that CloudFormation refuses to deploy the other one at once.

    Raises:
        ValueError: the build has several architectures, or its template isn't as SAM writes it.
    """
    built, place = architecture_of(build), build / "template.yaml"
    text, count = _ARCHITECTURE_PARAMETER.subn(rf"\g<1>{built}\g<2>    - {built}\n", place.read_text())
    if built is None or count != 1:
        raise ValueError(f"{place} can't be made one for {built}")
    place.write_text(text)


def add_bytecode(build: Path) -> None:
    """Compile all modules: a cold start would take longer to compile what it imports than for all the rest.

    Lambda keeps no bytecode, since nothing can be written to what it unpacked. The bytecode is valid by hash and
    unchecked, since unpacking changes the times of files; and it has the paths of Lambda, so that the same sources
    make the same package.
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


# ---------------------------------------------------------------- checks


def megabytes(directory: Path) -> float:
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file()) / 1e6


def misplaced_packages(build: Path, function: Path) -> list[str]:
    """Return a sentence for each package that the function or the layer carries and shouldn't."""
    unwanted = ["boto3", "botocore", *TESTS_ONLY]
    if function.name not in HTTP_FUNCTIONS:
        unwanted += HTTP_ONLY
    if function.name not in STREAMING_FUNCTIONS:
        unwanted += ["uvicorn"]
    found = [f"{function.name} carries {name}" for name in unwanted if (function / name).exists()]
    layer = build / LAYER / "python"
    return found + [f"{LAYER} carries {name}" for name in HTTP_ONLY + TESTS_ONLY if (layer / name).exists()]


def import_error(build: Path, function: Path) -> str | None:
    """Import the handler from the built function and layer alone, and return the error if there is one."""
    module = f"functions.{function.name.removesuffix('Function').lower()}.handler"
    process = subprocess.run(
        # -B: leaves the build as it is. -S: without the interpreter's own packages; Lambda has none of ours there.
        [sys.executable, "-B", "-S", "-c", f"from {module} import lambda_handler as f; assert callable(f)"],
        env=ENVIRONMENT | {"PYTHONPATH": os.pathsep.join([str(function), str(build / LAYER / "python")])},
        cwd=function,
        capture_output=True,
        text=True,
        check=False,
    )
    return process.stderr.strip() or f"importing {module} failed" if process.returncode else None


def architecture_of(build: Path) -> str | None:
    """Return the architecture of a build's libraries, in Lambda's words; None if they have several or none."""
    found = {ELF_MACHINES.get(_elf_machine(library)) for library in build.rglob("*.so")} - {None}
    return found.pop() if len(found) == 1 else None


def _elf_machine(library: Path) -> int:
    """Return the machine in a library's header: https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html."""
    with library.open("rb") as file:
        header = file.read(20)
    return int.from_bytes(header[18:20], "little")


def uncompiled(build: Path) -> list[Path]:
    """Return our own modules that a cold start would have to compile."""
    ours = [*build.glob("*Function/functions/**/*.py"), *(build / LAYER / "python" / "actions_cache").rglob("*.py")]
    return [source for source in ours if not Path(cache_from_source(str(source))).is_file()]


if __name__ == "__main__":
    if problems := main(Path(sys.argv[1]).resolve(), sys.argv[2]):
        sys.exit("\n".join(problems))
