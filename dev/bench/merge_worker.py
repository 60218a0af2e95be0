"""One merge in a process of its own, the one that Lambda would start; prints what it took as a line of JSON.

Reads the queue's message from standard input; the settings are the environment's.
"""

import json
import os
import sys
import time
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from typing import Any

from actions_cache.aws.sqs import decode_message
from dev.bench.memory_usage import most_resident
from dev.clients.driver import plenty
from functions.merge.handler import services


@dataclass(frozen=True)
class Call:
    operation: str
    began: float
    ended: float
    """Seconds since the merge began."""
    size: int
    """Bytes of archives that passed the worker."""


@dataclass(frozen=True)
class Merged:
    outcome: str
    seconds: float
    resident: int
    """Bytes, at the most."""
    calls: list[Call]


def main() -> None:
    message = decode_message(sys.stdin.read())
    worker = services()
    calls: list[Call] = []
    began_at: ContextVar[float] = ContextVar("began_at")
    sent: ContextVar[int] = ContextVar("sent", default=0)

    def note_begin(params: dict[str, Any], model: Any, **_: object) -> None:
        began_at.set(time.perf_counter())
        sent.set(params["body"].getbuffer().nbytes if model.name == "UploadPart" else 0)

    def note_end(parsed: dict[str, Any], model: Any, **_: object) -> None:
        got = int(parsed.get("ContentLength", 0)) if model.name == "GetObject" else 0
        calls.append(Call(model.name, began_at.get() - began, time.perf_counter() - began, sent.get() + got))

    events = worker.bucket._s3.meta.events  # noqa: SLF001 - what boto3 sends is seen nowhere else
    events.register("before-call.s3.*", note_begin)
    events.register("after-call.s3.*", note_end)
    worker.table.check()
    began = time.perf_counter()
    outcome = worker.merge(message, plenty)
    seconds = time.perf_counter() - began
    print(json.dumps(asdict(Merged(outcome, seconds, most_resident(os.getpid()), calls))))


if __name__ == "__main__":
    main()
