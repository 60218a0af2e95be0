"""A server that turns bad while a job uses it: each call is given up in time, and the job goes on without a cache."""

import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_cache_server import (
    CREATE,
    FINALIZE,
    HTML,
    LOOK_UP,
    STATUS,
    Answer,
    FakeCacheServer,
    Fault,
    fake_cache_server,
)
from tests.support.hooked_job import HookedJob, action_variables, install_hook, shorten
from tests.support.private_ca import CertificateAuthority

pytestmark = pytest.mark.slow

SENDS = Path(__file__).with_name("sends.cjs")
LOOK_CALL, PUT, GET = f"GET {STATUS}", "PUT /blobs", "GET /blobs"
SILENT = "it brought nothing within"


def send(name: str, variables: dict[str, str]) -> list[str]:
    ran = subprocess.run(["node", str(SENDS), name], env=variables, capture_output=True, text=True, check=True)
    assert ran.stderr == ""
    return ran.stdout.splitlines()


def is_down(memory: Path) -> bool:
    return memory.read_text().startswith("down ")


@pytest.fixture
def hasty(hook: Path) -> Path:
    shorten(hook, LOOKUP_MS=1000, SILENCE_MS=1500)
    return hook


@pytest.mark.parametrize(
    ("call", "fault", "why"),
    [
        (LOOK_UP, "silent", SILENT),
        (LOOK_UP, Answer(503), "2 requests in a row failed, the last with 503"),
        (LOOK_UP, HTML, "2 requests in a row failed, the last with 200"),
        (LOOK_UP, Answer(401, b'{"msg": "no\\n::error::such token"}'), "refused this job: 401 no ::error::such token"),
        (LOOK_UP, Answer(403, b"<html>", "text/html"), "refused this job: 403"),
    ],
    ids=str,
)
@pytest.mark.usefixtures("hasty")
def test_bad_lookup_is_a_miss(
    ours: FakeCacheServer, github: FakeCacheServer, job: HookedJob, memory: Path, call: str, fault: Fault, why: str
) -> None:
    ours.faults[call] = fault
    restored = job.restore(["data"], "key")
    assert restored.result is None
    assert restored.seconds < 10
    assert sum(why in line and not line.startswith("::") for line in restored.log) == 1, restored.log
    assert is_down(memory)
    asked = len(ours.asked)
    assert any("::warning::" in line for line in job.save(["data"], "key").log)
    assert (len(ours.asked), github.asked) == (asked, []), "a job's later processes don't ask"


@pytest.mark.parametrize("call", [CREATE, PUT, FINALIZE])
@pytest.mark.parametrize("fault", ["silent", HTML], ids=str)
@pytest.mark.usefixtures("hasty")
def test_bad_save_is_a_warning(
    ours: FakeCacheServer, github: FakeCacheServer, job: HookedJob, memory: Path, call: str, fault: Fault
) -> None:
    ours.faults[call] = fault
    saved = job.save(["data"], "key")
    assert any(line.startswith("::warning::") for line in saved.log), saved.log
    assert github.asked == [], "a Finalize goes where its Create went"
    if fault == "silent":
        assert any(SILENT in line for line in saved.log), saved.log
        assert is_down(memory)
        assert saved.seconds < 10


@pytest.mark.usefixtures("hasty")
def test_silent_download_is_a_miss(ours: FakeCacheServer, job: HookedJob, memory: Path) -> None:
    job.save(["data"], "key")
    ours.faults[GET] = "silent"
    restored = job.restore(["data"], "key")
    assert (restored.result, is_down(memory)) == (None, True), restored.log
    assert restored.seconds < 10


def test_reset_is_a_miss_and_two_are_down(
    ours: FakeCacheServer, variables: dict[str, str], job: HookedJob, memory: Path
) -> None:
    ours.faults[LOOK_UP] = "reset"
    restored = job.restore(["data"], "key")
    assert (restored.result, is_down(memory)) == (None, False), restored.log
    assert restored.seconds < 3
    first, why, second = send("again", variables)
    assert (first, second[:19]) == ("again ECONNRESET", 'again 200 {"ok":fal')
    assert "2 requests in a row failed, the last with ECONNRESET" in why
    assert is_down(memory)


def test_one_failure_isnt_down(ours: FakeCacheServer, job: HookedJob, memory: Path) -> None:
    ours.fault_of = lambda asked: Answer(503) if ours.calls.count(asked.call) == 1 and asked.call == LOOK_UP else None
    assert job.restore(["data"], "key").result is None
    assert not is_down(memory)
    assert ours.calls.count(LOOK_UP) == 2


def slowly(stream: Any, size: int) -> bytes:
    """Read for some 5 s, without a pause of a second."""
    for left in range(20, 0, -1):
        stream.read(size // 20 if left > 1 else size - 19 * (size // 20))
        time.sleep(0.25)
    return b""


@pytest.mark.parametrize("is_tls", [False, True], ids=["http", "https"])
def test_slow_upload_in_one_write_is_not_given_up(tmp_path: Path, temporary: Path, *, is_tls: bool) -> None:
    authority = CertificateAuthority()
    (tmp_path / "ca.pem").write_text(authority.pem)
    with fake_cache_server(authority.server_context(tmp_path) if is_tls else None) as server:
        server.read_body = slowly
        hook = install_hook(tmp_path / "hook", f"{server.url}/")
        shorten(hook, SILENCE_MS=2000)
        trust = {"NODE_EXTRA_CA_CERTS": str(tmp_path / "ca.pem")}
        assert send("slow", action_variables(hook, temporary, **trust)) == ["slow 201 "]


@pytest.mark.usefixtures("hasty")
def test_stuck_upload_is_given_up(ours: FakeCacheServer, variables: dict[str, str], memory: Path) -> None:
    def stick(stream: Any, size: int) -> bytes:
        stream.read(size // 2)
        ours.over.wait()
        return b""

    ours.read_body = stick
    said, answer = send("slow", variables)
    assert SILENT in said
    assert answer.startswith("slow 400 <Error>")
    assert is_down(memory)


def test_request_that_waits_for_a_connection_is_not_given_up(
    ours: FakeCacheServer, hook: Path, variables: dict[str, str]
) -> None:
    shorten(hook, LOOKUP_MS=1000, SILENCE_MS=3000)
    ours.read_body = lambda stream, size: slowly(stream, size) if size > 1000 else stream.read(size)
    assert [line.split()[:2] for line in send("queued", variables)] == [["slow", "201"], ["queued", "200"]]


def test_process_that_computes_meanwhile_gives_nothing_up(hook: Path, variables: dict[str, str], memory: Path) -> None:
    shorten(hook, LOOKUP_MS=1000)
    [line] = send("busy", variables)
    assert line.startswith("busy 200")
    assert not is_down(memory)


def test_connections_are_reused_as_without_hook(ours: FakeCacheServer, variables: dict[str, str]) -> None:
    def connections(**changes: str) -> int:
        ours.asked.clear()
        assert send("many", {**variables, **changes}) == ["many 201 "] * 9
        return len({asked.connection for asked in ours.asked if asked.call != LOOK_CALL})

    assert connections() == connections(NODE_OPTIONS="", ACTIONS_RESULTS_URL=ours.url) == 3
