"""Runs a built function under Lambda's Runtime Interface Emulator, with its real runtime, 6 MB limit and timeout."""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import urllib3

from dev.build.package import ARCHITECTURE, BUILD
from dev.local.template import ROOT, Template

RESOLVER = ROOT / "tests" / "support" / "resolver"
RUNTIME = ROOT / ".tools" / "runtime" / "bin" / "python"
LAMBDA_ANSWER_SECONDS = 60


class BuiltFunction:
    """A function that sees its package, the layer and the runtime's own client, and nothing of this source tree.

    Args:
        template: declares the function.
        name: its logical id.
        environment: all of its variables; none is inherited.
        log: file for its output.
    """

    def __init__(self, template: Template, name: str, environment: Mapping[str, str], log: Path) -> None:
        declared = template.functions[name]
        self.name = name
        self._address, runtime_api = _free_address(), _free_address()
        self._http = urllib3.PoolManager()
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [
                    _emulator(),
                    # Both, or it listens on all interfaces.
                    *("--runtime-interface-emulator-address", self._address, "--runtime-api-address", runtime_api),
                    *(RUNTIME, "-B", "-m", "awslambdaric", template.resolve(declared["Handler"])),
                ],
                cwd=BUILD / name,
                env={
                    "PATH": os.defpath,
                    "PYTHONPATH": os.pathsep.join(map(str, (BUILD / name, BUILD / "CoreLayer" / "python", RESOLVER))),
                    "AWS_LAMBDA_FUNCTION_NAME": name,
                    "AWS_LAMBDA_FUNCTION_TIMEOUT": str(template.number(declared["Timeout"])),
                    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(template.number(declared["MemorySize"])),
                    **environment,
                },
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def invoke(self, event: Mapping[str, Any]) -> Any:
        """Invoke the function; the emulator crashes on two invocations at once."""
        answer = self._http.request(
            "POST",
            f"http://{self._address}/2015-03-31/functions/function/invocations",
            body=json.dumps(event),
            retries=urllib3.Retry(connect=10, read=False, backoff_factor=0.05),
            timeout=LAMBDA_ANSWER_SECONDS,
        )
        try:
            return json.loads(answer.data)
        except ValueError:
            return {"errorMessage": answer.data.decode()}

    def stop(self) -> None:
        self._http.clear()
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def _emulator() -> Path:
    """Return the path of the emulator that aws-sam-cli brings for `sam local`."""
    [found] = ROOT.glob(f".tools/sam/lib/python*/site-packages/samcli/local/rapid/aws-lambda-rie-{ARCHITECTURE}")
    return found


def _free_address() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"
