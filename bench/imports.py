"""Cold starts: what a function's handler takes to import, beside the libraries that it can't do without."""

import os
import statistics
import subprocess
import sys
from collections.abc import Iterator

from bench.row import Row
from bench.scene import Store
from tests.clients.server import ROOT

SHARED = ("boto3", "pynamodb.models", "pynamodb.transactions", "pydantic_settings", "tenacity")
LOGS = ("aws_lambda_powertools.logging",)
HTTP = ("fastapi", "mangum", "aiohttp", "h11")
LIBRARIES = {
    "api": (*SHARED, *LOGS, *HTTP, "jwt", "google.protobuf.json_format", "defusedxml.ElementTree"),
    "download": (*SHARED, *LOGS, *HTTP),
    "manage": (*SHARED, *LOGS, "fastapi", "mangum", "aws_lambda_powertools.utilities.parameters"),
    "merge": (*SHARED, *LOGS, "aws_lambda_powertools.utilities.batch"),
    "cleanup": (*SHARED, *LOGS),
    "rotate": (*LOGS, "boto3", "pydantic_settings", "awscrt.auth"),
}
"""What pyproject's groups give each function, as its handler uses it."""

MEASURE = "import time; began = time.process_time(); import {}; print(time.process_time() - began)"
WITHOUT_CRT = "import sys; sys.modules['awscrt'] = None; "
"""Only the rotation's package has it, and botocore imports it wherever it is."""


def imports(_store: Store, rounds: int) -> Iterator[Row]:
    for function, libraries in LIBRARIES.items():
        before = "" if function == "rotate" else WITHOUT_CRT
        pairs = [
            (_seconds(before, *libraries), _seconds(before, f"functions.{function}.handler")) for _ in range(rounds)
        ]
        bare, ours = (statistics.median(it) for it in zip(*pairs, strict=True))
        yield Row(
            f"import of the {function} function, processor time",
            f"its libraries alone {1000 * bare:.0f} ms",
            f"{1000 * ours:.0f} ms",
            ours / bare,
            "≤ 1.50",
        )


def _seconds(before: str, *modules: str) -> float:
    answer = subprocess.run(
        [sys.executable, "-c", before + MEASURE.format(", ".join(modules))],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'layers' / 'core'}"},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(answer.stdout)
