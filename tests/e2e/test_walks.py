"""A save, a restore and a merge pass through the files that docs/design/architecture.md names, and no others.

A walk's files are found by running it: those on the call stack whenever an adapter is called, which is the way from the
event to AWS, and those of the domain that a flow asks for a decision.
"""

import asyncio
import re
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Self

import pytest

from dev.clients.driver import CacheDriver
from dev.local.template import ROOT
from functions.api import handler as api
from functions.download import handler as download
from functions.merge import handler as merge
from tests.support import lambda_events
from tests.unit.template.test_handlers import Context

PAGE = (ROOT / "docs" / "design" / "architecture.md").read_text()
CORE = "layers/core/actions_cache/"
BLOCKS = {"YQ==": bytes(6 * 1024 * 1024), "Yg==": b"the rest"}

COMMON = {
    *(f"{CORE}{name}.py" for name in ("http/app", "services", "download_services", "schema", "urls")),
    *(f"{CORE}{name}.py" for name in ("activity", "events")),
    *(f"{CORE}aws/{name}.py" for name in ("clients", "telemetry", "secrets")),
    *(f"{CORE}aws/{name}.py" for name in ("dynamodb_items", "dynamodb_repositories")),
    *(f"functions/{name}.py" for name in ("api/handler", "api/services", "api/dependencies", "merge/services")),
}
"""Files that every request passes, whatever it asks: wiring, middleware, signed URLs, errors, activity, events."""


def place(frame: FrameType) -> str | None:
    """Return the product file that a frame runs in, relative to the checkout."""
    code = frame.f_code
    path = code.co_filename.removeprefix(f"{ROOT}/")
    return path if path.startswith((CORE, "functions/")) and code.co_name != "<module>" else None


def is_in(folder: str, frame: FrameType | None) -> bool:
    return frame is not None and (place(frame) or "").startswith(f"{CORE}{folder}/")


def is_decision(frame: FrameType) -> bool:
    """Return whether a flow calls a function of the domain, rather than a property or method of a value."""
    caller = place(frame.f_back) if frame.f_back else None
    is_flow = caller is not None and re.fullmatch(rf"{CORE}\w+\.py", caller) and caller not in COMMON
    return is_in("domain", frame) and bool(is_flow) and "self" not in frame.f_code.co_varnames[:1]


class Recorder:
    """Records the files of a walk, in all threads that begin while it is in use."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self._is_over = False

    def __enter__(self) -> Self:
        threading.settrace(self._note)
        sys.settrace(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        sys.settrace(None)
        threading.settrace(None)

    def take(self, walk: Callable[[], None]) -> set[str]:
        """Return the files that a walk passes, without the common ones."""
        self.files = set()
        walk()
        return self.files - COMMON

    def _note(self, frame: FrameType, event: str, _: object) -> None:
        if self._is_over:
            sys.settrace(None)  # in a thread that outlives the walks
        elif event == "call" and is_in("aws", frame) and not is_in("aws", frame.f_back):
            self._note_callers(frame)
        elif event == "call" and is_decision(frame):
            self.files.add(place(frame) or "")

    def _note_callers(self, frame: FrameType | None) -> None:
        while frame is not None:
            path = place(frame)
            # A lazy listing is read inside the domain, which calls no adapter by itself.
            if path and not is_in("domain", frame):
                self.files.add(path)
            frame = frame.f_back


@pytest.fixture
def functions(on_emulators: CacheDriver, monkeypatch: pytest.MonkeyPatch) -> Iterator[CacheDriver]:
    """Provide the functions' environment, with the emulators' resources."""
    for variable, value in {**on_emulators.variables, "VERIFY_TOKENS": "0"}.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr(Context, "get_remaining_time_in_millis", lambda _: 100_000)
    cached = (api.asgi_app, download.asgi_app, merge.services)
    for start in cached:
        start.cache_clear()
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)  # Mangum takes this one
    yield on_emulators
    for services in (api.asgi_app().state.services.downloads, download.asgi_app().state.services):
        loop.run_until_complete(services.stream.close())
    loop.run_until_complete(loop.shutdown_default_executor())
    asyncio.set_event_loop(None)
    loop.close()
    for start in cached:
        start.cache_clear()


def invoke(function: Any, event: lambda_events.Event) -> Any:
    answer = function.lambda_handler(event, Context())
    assert answer.get("statusCode", 200) < 300, answer
    return answer


def save(key: str) -> None:
    url = lambda_events.json_of(invoke(api, lambda_events.call("create-entry", key=key)))["signed_upload_url"]
    for block_id, body in BLOCKS.items():
        invoke(api, lambda_events.blob("put-block", url, body, blockid=block_id))
    names = "".join(f"<Latest>{block_id}</Latest>" for block_id in BLOCKS)
    invoke(api, lambda_events.blob("put-blocklist", url, f"<BlockList>{names}</BlockList>".encode()))
    size = sum(map(len, BLOCKS.values()))
    assert lambda_events.json_of(invoke(api, lambda_events.call("finalize", key=key, size_bytes=str(size))))["ok"]


def restore(key: str) -> None:
    found = lambda_events.json_of(invoke(api, lambda_events.call("lookup", key=key, restore_keys=[])))
    answer = invoke(download, lambda_events.blob("download", found["signed_download_url"]))
    assert lambda_events.body_of(answer) == b"".join(BLOCKS.values())


def merge_next(driver: CacheDriver) -> None:
    [message] = driver.sqs.receive_message(QueueUrl=driver.services.settings.merge_queue_url)["Messages"]
    event = lambda_events.load("sqs-merge")
    event["Records"][0]["body"] = message["Body"]
    assert invoke(merge, event) == {"batchItemFailures": []}


def named(walk: str) -> list[str]:
    """Return the files of a walk, as the page lists them."""
    section = PAGE.partition(f"### {walk}\n")[2].partition("\n#")[0]
    paths = re.findall(r"^\d+\. `([\w./]+)`", section, re.MULTILINE)
    return [re.sub("^core/", CORE, path) for path in paths]


@pytest.mark.slow
def test_walks_pass_the_named_files(functions: CacheDriver) -> None:
    walks: dict[str, Callable[[], None]] = {
        "A save": lambda: save("second"),
        "A restore": lambda: restore("second"),
        "A merge": lambda: merge_next(functions),
    }
    with Recorder() as recorder:
        save("first")
        restore("first")
        merge_next(functions)
        for walk, take in walks.items():
            files = recorder.take(take)
            assert sorted(files) == sorted(path for path in named(walk) if path.endswith(".py")), walk
            assert 9 <= len(named(walk)) <= 14, walk
