"""The hook's one look at the server: what counts as down, who looks, and what is remembered."""

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from dev.clients.actions_cache import NEWEST, VERSION_3, VERSION_4, VERSION_5, Package
from dev.clients.local_server import free_port
from tests.support.fake_cache_server import HTML, STATUS, Answer, FakeCacheServer, Fault
from tests.support.hooked_job import HookedJob, install_hook, shorten

ASK = Path(__file__).with_name("ask.cjs")
LOOK_CALL = f"GET {STATUS}"
WHY = "can't be used, so this job goes on without a cache: it was down when this job began"


def ask(variables: dict[str, str], directory: Path | None = None) -> str:
    ran = subprocess.run(
        ["node", str(ASK)], env=variables, capture_output=True, text=True, check=True, timeout=60, cwd=directory
    )
    assert ran.stderr == ""
    return ran.stdout


def led_to(variables: dict[str, str]) -> str:
    script = ["node", "-p", "process.env.ACTIONS_RESULTS_URL"]
    return subprocess.run(script, env=variables, capture_output=True, text=True, check=True).stdout.strip()


@contextmanager
def dropping() -> Iterator[int]:
    """Yield a port whose queue of connections is full, so that further ones get no answer."""
    with socket.socket() as listener, ExitStack() as waiting:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            client = waiting.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@pytest.mark.parametrize(
    "fault", ["silent", "reset", Answer(500), Answer(503), HTML, Answer(401), Answer(403)], ids=str
)
def test_bad_answer_counts_as_down(
    ours: FakeCacheServer, hook: Path, variables: dict[str, str], memory: Path, fault: Fault
) -> None:
    if fault == "silent":
        shorten(hook, LOOK_MS=1500)
    ours.faults[LOOK_CALL] = fault
    said, answer = ask(variables).splitlines()
    assert WHY in said
    assert ours.url.removeprefix("http://") in said
    assert answer.startswith('200 {"ok":false')
    assert ours.calls == [LOOK_CALL]
    assert memory.read_text().startswith("down ")


def test_dropped_packets_count_as_down(tmp_path: Path, variables: dict[str, str], memory: Path) -> None:
    with dropping() as port:
        hook = install_hook(tmp_path / "hook", f"http://127.0.0.1:{port}/")
        shorten(hook, LOOK_MS=1500)
        began = time.monotonic()
        assert WHY in ask(variables)
        assert time.monotonic() - began < 5
    assert memory.read_text().startswith("down ")


@pytest.mark.parametrize("fault", ["slow", Answer(404), Answer(200), Answer(400)], ids=str)
def test_slow_or_older_server_counts_as_up(
    ours: FakeCacheServer, variables: dict[str, str], memory: Path, fault: Fault
) -> None:
    ours.faults[LOOK_CALL] = fault
    assert ask(variables).startswith('200 {"ok": false')
    assert ours.calls == [LOOK_CALL, "GetCacheEntryDownloadURL"]
    assert memory.read_text().startswith("up ")


@pytest.mark.parametrize("package", [NEWEST, VERSION_5, VERSION_4, VERSION_3])
def test_job_stays_green_without_server(
    job: HookedJob, memory: Path, package: Package, github: FakeCacheServer
) -> None:
    down = replace(job, package=package, api="v1" if package == VERSION_3 else "v2")
    install_hook(job.hook.parent, f"http://127.0.0.1:{free_port()}/")
    restored, saved = down.restore(["data"], "key"), down.save(["data"], "key")
    assert restored.result is None, restored.log
    assert restored.seconds + saved.seconds < 3, "which the client waits before it tries again"
    assert sum(WHY in line and not line.startswith("::") for line in restored.log) == 1, restored.log
    assert any(line.startswith("::warning::") and WHY in line for line in saved.log), saved.log
    assert github.asked == []
    assert memory.read_text().startswith("down ")


@pytest.mark.parametrize("is_down", [True, False])
def test_down_server_leaves_github_if_wanted(
    ours: FakeCacheServer, github: FakeCacheServer, hook: Path, variables: dict[str, str], *, is_down: bool
) -> None:
    install_hook(hook.parent, f"{ours.url}/", when_down="github")
    ours.faults[LOOK_CALL] = Answer(503 if is_down else 200)
    assert led_to(variables) == (f"{github.url}/" if is_down else f"{ours.url}/")
    ask(variables)
    assert github.calls == (["GetCacheEntryDownloadURL"] if is_down else [])


def test_second_copy_follows_the_firsts_decision(
    tmp_path: Path, ours: FakeCacheServer, github: FakeCacheServer, hook: Path, variables: dict[str, str]
) -> None:
    ours.faults[LOOK_CALL] = Answer(503)
    copies = [hook, install_hook(tmp_path / "copy", f"{ours.url}/")]
    for copy in copies:
        install_hook(copy.parent, f"{ours.url}/", when_down="github")
    both = {**variables, "NODE_OPTIONS": " ".join(f"--require {copy}" for copy in [*copies, hook])}
    assert led_to(both) == f"{github.url}/"
    assert ours.calls == [LOOK_CALL]
    for copy in copies:
        install_hook(copy.parent, f"{ours.url}/")
    assert ask(both).count(WHY) == 2, "in one line, and in the answer"


def test_processes_of_job_look_once(ours: FakeCacheServer, variables: dict[str, str]) -> None:
    ours.faults[LOOK_CALL] = "slow"
    with ThreadPoolExecutor(8) as pool:
        answers = set(pool.map(ask, [variables] * 8))
    answers |= {ask(variables), ask(variables)}
    assert len(answers) == 1
    assert ours.calls.count(LOOK_CALL) == 1
    assert len(ours.calls) == 1 + 10


def test_processes_wait_for_the_one_that_looks(ours: FakeCacheServer, hook: Path, variables: dict[str, str]) -> None:
    shorten(hook, LOOK_MS=3000)
    ours.faults[LOOK_CALL] = "silent"
    with ThreadPoolExecutor(5) as pool:
        assert all(WHY in answer for answer in pool.map(ask, [variables] * 5))
    assert ours.calls == [LOOK_CALL]


@pytest.mark.parametrize(
    ("word", "age", "looks"), [("up", 10, 0), ("up", 61, 1), ("up", -61, 1), ("down", 10, 0), ("down", 9999, 0)]
)
def test_down_lasts_for_the_job_and_up_for_a_minute(
    ours: FakeCacheServer, variables: dict[str, str], memory: Path, word: str, age: int, looks: int
) -> None:
    memory.write_text(f"{word} {int((time.time() - age) * 1000)}")
    assert (WHY in ask(variables)) is (word == "down")
    assert ours.calls.count(LOOK_CALL) == looks


def test_next_job_looks_again(ours: FakeCacheServer, variables: dict[str, str], tmp_path: Path, memory: Path) -> None:
    memory.write_text("down 1800000000000")
    (tmp_path / "next").mkdir()
    assert WHY not in ask({**variables, "RUNNER_TEMP": str(tmp_path / "next")})
    assert ours.calls[0] == LOOK_CALL


def test_process_without_temporary_files_looks_itself(
    ours: FakeCacheServer, variables: dict[str, str], tmp_path: Path
) -> None:
    directory = tmp_path / "empty"
    directory.mkdir()
    (directory / "undefined.lock").touch()
    del variables["RUNNER_TEMP"]
    assert ask(variables, directory) == ask(variables, directory)
    assert ours.calls.count(LOOK_CALL) == 2
    assert [path.name for path in directory.iterdir()] == ["undefined.lock"]


def sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 2**40)


TAMPERED: dict[str, Callable[[Path], object]] = {
    "garbage": lambda path: path.write_bytes(b"\0\xff" * 99),
    "other word": lambda path: path.write_text("left 1800000000000"),
    "directory": Path.mkdir,
    "huge": sparse,
    "pipe": os.mkfifo,
    "endless": lambda path: path.symlink_to("/dev/zero"),
    "dead link": lambda path: path.symlink_to("/nowhere/x"),
    "link": lambda path: path.symlink_to(path.parent.parent / "data"),
}


@pytest.mark.parametrize("tamper", TAMPERED.values(), ids=TAMPERED)
def test_tampered_memory_does_no_harm(
    ours: FakeCacheServer, variables: dict[str, str], memory: Path, tmp_path: Path, tamper: Callable[[Path], object]
) -> None:
    (tmp_path / "data").write_text("a file of the job")
    tamper(memory)
    assert ask(variables).startswith('200 {"ok": false')
    assert ours.calls == [LOOK_CALL, "GetCacheEntryDownloadURL"]
    assert (tmp_path / "data").read_text() == "a file of the job"


def test_look_that_doesnt_begin_in_time_is_none(
    ours: FakeCacheServer, hook: Path, variables: dict[str, str], memory: Path
) -> None:
    """On a busy machine, a process may take seconds to start."""
    shorten(hook, LOOK_MS=1)
    assert ask(variables).startswith('200 {"ok": false')
    assert ours.calls == ["GetCacheEntryDownloadURL"]
    assert memory.read_text().startswith("up ")


@pytest.mark.parametrize("make", [Path.touch, Path.mkdir], ids=["file", "directory"])
def test_lock_left_behind_is_outwaited(
    hook: Path, variables: dict[str, str], memory: Path, ours: FakeCacheServer, make: Callable[[Path], None]
) -> None:
    shorten(hook, LOOK_MS=700)
    make(memory.with_name(f"{memory.name}.lock"))
    ask(variables)
    assert ours.calls[0] == LOOK_CALL
    assert memory.exists()


def test_look_gets_the_clients_options_and_no_token(variables: dict[str, str], tmp_path: Path) -> None:
    """Options of node may say which authorities it trusts."""
    spy = tmp_path / "spy.cjs"
    spy.write_text(
        "const { env, argv } = process\n"
        f"require('fs').appendFileSync({str(tmp_path / 'seen')!r}, `${{argv[1]}} ${{env.ACTIONS_RUNTIME_TOKEN}}\\n`)"
    )
    ask({**variables, "NODE_OPTIONS": f"{variables['NODE_OPTIONS']} --require {spy}"})
    look, client = (tmp_path / "seen").read_text().splitlines()
    assert look.endswith("hook-requests.cjs ")
    assert client.endswith("ask.cjs a job's token")


def test_look_sends_no_token(ours: FakeCacheServer, variables: dict[str, str]) -> None:
    ask(variables)
    [look, lookup] = ours.asked
    assert "token" not in json.dumps(look.headers)
    assert look.header("user-agent") == ["actions-cache-hook/1 (protect)"]
    assert lookup.header("authorization") == ["Bearer token"]
