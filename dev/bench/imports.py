"""Cold starts: the import of each function's handler, beside that of the libraries it can't do without."""

import os
import statistics
import subprocess
from collections.abc import Iterator

from dev.bench.environment import Emulators, Row
from dev.build.package import ARCHITECTURE, BUILD, LAYER
from dev.local.template import ROOT

SHARED = ("boto3", "pynamodb.models", "pynamodb.transactions", "pydantic_settings", "tenacity")
LOGS = ("aws_lambda_powertools.logging",)
HTTP = ("fastapi", "mangum", "aiohttp", "h11")
LIBRARIES = {
    "api": (*SHARED, *LOGS, *HTTP, "jwt", "google.protobuf.json_format", "defusedxml.ElementTree"),
    "download": (*SHARED, *LOGS, *HTTP),
    "manage": (*SHARED, *LOGS, "fastapi", "mangum"),
    "merge": (*SHARED, *LOGS, "aws_lambda_powertools.utilities.batch"),
    "cleanup": (*SHARED, *LOGS),
    "rotate": (*LOGS, "boto3", "pydantic_settings", "awscrt.auth"),
}
"""Modules of the libraries that pyproject's groups give each function, as its handler uses them."""

MEASURE = "import time; began = time.process_time(); import {}; print(time.process_time() - began)"


def imports(_emulators: Emulators, rounds: int) -> Iterator[Row]:
    """Import from the built package alone, by the runtime's version of Python."""
    python = subprocess.check_output([str(ROOT / "dev" / "build" / "python312.sh")], cwd=ROOT, text=True).strip()
    subprocess.run(
        [str(ROOT / "dev" / "build" / "build.sh"), ARCHITECTURE], cwd=ROOT, check=True, stdout=subprocess.DEVNULL
    )
    for function, libraries in LIBRARIES.items():
        path = [str(BUILD / f"{function.title()}Function"), str(BUILD / LAYER / "python")]
        pairs = [
            (_seconds(python, path, *libraries), _seconds(python, path, f"functions.{function}.handler"))
            for _ in range(rounds)
        ]
        bare, ours = (statistics.median(seconds) for seconds in zip(*pairs, strict=True))
        yield Row(
            f"import of the {function} function, processor time",
            f"its libraries alone {1000 * bare:.0f} ms",
            f"{1000 * ours:.0f} ms",
            ours / bare,
            "≤ 1.50",
        )


def _seconds(python: str, path: list[str], *modules: str) -> float:
    answer = subprocess.run(
        # -B: leaves the build as it is. -S: Lambda has none of the interpreter's own packages.
        [python, "-B", "-S", "-c", MEASURE.format(", ".join(modules))],
        env={"PYTHONPATH": os.pathsep.join(path)},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(answer.stdout)
