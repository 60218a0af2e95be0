"""Says how large each built function and layer is, and that each handler can be imported from it.

Run by the runtime's own interpreter, with nothing but the standard library: `check_build.py BUILD_DIR ARCHITECTURE`.
"""

import os
import platform
import subprocess
import sys
from importlib.util import cache_from_source
from pathlib import Path

LAYER = "CoreLayer"
LARGEST_UNZIPPED_MB = 250  # Lambda's limit for a function and its layers together
HTTP_ONLY = ("fastapi", "starlette", "aiohttp", "mangum")
HTTP_FUNCTIONS = ("ApiFunction", "DownloadFunction", "ManageFunction")
STREAMING_FUNCTIONS = ("DownloadFunction",)
ELF_MACHINES = {62: "x86_64", 183: "arm64"}
TESTS_ONLY = ("pytest", "moto", "hypothesis", "mypy")
# Settings have no defaults for these; importing a handler calls no AWS service.
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


def megabytes(directory: Path) -> float:
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file()) / 1e6


def misplaced_packages(build: Path, function: Path) -> list[str]:
    """Packages that `function` carries though the layer, no function or only some other one should."""
    unwanted = ["boto3", "botocore", *TESTS_ONLY]
    if function.name not in HTTP_FUNCTIONS:
        unwanted += HTTP_ONLY
    if function.name not in STREAMING_FUNCTIONS:
        unwanted += ["uvicorn"]
    found = [f"{function.name} carries {name}" for name in unwanted if (function / name).exists()]
    found += [
        f"{LAYER} carries {name}" for name in HTTP_ONLY + TESTS_ONLY if (build / LAYER / "python" / name).exists()
    ]
    return found


def import_error(build: Path, function: Path) -> str | None:
    """What goes wrong when the handler is imported with only the built function and layer on the path."""
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
    """Our own modules that a cold start would have to compile."""
    ours = [*build.glob("*Function/functions/**/*.py"), *(build / LAYER / "python" / "actions_cache").rglob("*.py")]
    return [source for source in ours if not Path(cache_from_source(str(source))).is_file()]


def main(build: Path, architecture: str) -> list[str]:
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
    if not (build / LAYER / "python" / "actions_cache" / "release.txt").is_file():
        problems.append(f"{LAYER} doesn't say which release it is")
    if (built := architecture_of(build)) != architecture:
        problems.append(f"{build} was built for {built or 'no single architecture'}, not for {architecture}")
    problems += [f"{source.relative_to(build)} has no bytecode" for source in uncompiled(build)]
    if architecture == platform.machine():
        problems += [error for function in functions if (error := import_error(build, function))]
    return problems


if __name__ == "__main__":
    if problems := main(Path(sys.argv[1]).resolve(), sys.argv[2]):
        sys.exit("\n".join(problems))
