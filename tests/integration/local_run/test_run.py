"""Tests of `make run` while all is well: its lines, its addresses, its files and its end."""

import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import boto3
import psutil
import pytest
from botocore.exceptions import ClientError

from actions_cache.domain.timing import SECOND
from actions_cache_cli.target import read_exports, services_with
from dev.build.release import release_of
from dev.clients.wire import Job, put_blob, send
from dev.local.emulators import Endpoints
from dev.local.process import SHORTEST_LIFE_SECONDS
from dev.local.template import ROOT
from tests.integration.local_run.conftest import StartRun
from tests.integration.local_run.local_run import MAKE_ALONE, START_SECONDS, LocalRun, wait_until


def test_ready_line_comes_once_health_is_good(run: LocalRun):
    assert run.lines.count(f"ready {run.url}") == 1
    with urllib.request.urlopen(f"{run.url}/health") as answer:
        said = json.load(answer)
    release = release_of()
    assert (said["ok"], said["version"]) == (True, release.version)
    assert said["commit"].partition(".")[0] == release.commit.partition(".")[0]


def test_next_steps_are_shown_before_the_ready_line(run: LocalRun):
    said = "\n".join(run.lines[: run.lines.index(f"ready {run.url}")])
    assert f"{run.url}/, and its token by: make token LOCAL_DATA_DIR={run.data}" in said
    assert f'/opt/hook.json:     {{"url": "{run.url}/"}}' in said
    assert "NODE_OPTIONS=--require /opt/hook.cjs" in said
    assert f"{run.data}/logs" in said
    assert "signatures are NOT verified" in said
    claims = "TOKEN_CLAIMS is unset, so jobs of every repository are let in, as with TOKEN_CLAIMS=any"
    assert run.lines.count(claims) == 1
    assert (run.data / "logs" / "server.log").exists()


def make_token(data: Path) -> "subprocess.CompletedProcess[str]":
    variables = {**os.environ, "LOCAL_DATA_DIR": str(data)}
    return subprocess.run([*MAKE_ALONE, "token"], cwd=ROOT, env=variables, capture_output=True, text=True, check=False)


def test_make_token_prints_the_admin_token_alone(run: LocalRun, tmp_path: Path):
    """Without a run it is refused."""
    printed, refused = make_token(run.data), make_token(tmp_path)
    assert (printed.returncode, printed.stdout) == (0, f"{run.variables['ADMIN_TOKEN']}\n"), printed.stderr
    assert (refused.returncode != 0, refused.stdout) == (True, "")
    assert f"error: no local run is ready with its data in {tmp_path}: start one by `make run`" in refused.stderr


def test_health_is_good_once_the_env_file_exists(start_run: StartRun):
    run = start_run()

    def answers_well() -> bool:
        try:
            with urllib.request.urlopen(f"{run.url}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    wait_until(answers_well, START_SECONDS)
    assert (run.data / "env").exists()


def test_other_hosts_are_refused(run: LocalRun):
    """An upgrade to a websocket is the client's wish, which a server need not grant (RFC 9110, 7.8)."""
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    for headers in ({}, upgrade | {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}):
        for path in ("/", "/health", "/twirp/a/b"):
            assert send("GET", f"{run.url}{path}", headers=headers | {"Host": "evil.example"}).status == 421
        assert send("GET", f"{run.url}/health", headers=headers | {"Host": "127.0.0.1"}).status == 200


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_full_disk_is_reported_everywhere(start_run: StartRun, tmp_path: Path):
    (tmp_path / "data").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3g", "tmpfs", str(tmp_path / "data")], check=True)
    try:
        run = start_run().wait_until_ready()
        job = Job(run.url)
        job.save("fits", b"data")
        url = job.reserve("key")
        subprocess.run(["fallocate", "-l", "2900M", str(run.data / "ballast")], check=True)
        wait_until(lambda: send("GET", f"{run.url}/health").status == 503, 20)
        reply = put_blob(url, os.urandom(300_000_000))
        assert (reply.status, reply.headers["x-ms-error-code"]) == (507, "InsufficientStorage")
        assert b"MiB left" in reply.body
        wait_until(lambda: run.says("error: nothing can be saved: the disk of"))
        (run.data / "ballast").unlink()
        wait_until(lambda: send("GET", f"{run.url}/health").status == 200, 20)
    finally:
        run.kill_everything()
        subprocess.run(["umount", "-l", str(tmp_path / "data")], check=True)


def test_env_file_opens_everything_to_its_owners_shell(run: LocalRun):
    assert [stat.S_IMODE((run.data / file).stat().st_mode) for file in ("env", "settings")] == [0o600] * 2
    known = run.variables
    tables = run.clients.dynamodb.list_tables()["TableNames"]
    named = ("ENTRIES_TABLE", "RESERVATIONS_TABLE", "ARCHIVES_TABLE", "REPOSITORIES_TABLE")
    assert {known[name] for name in named} == set(tables)
    assert known["BUCKET"] in [bucket["Name"] for bucket in run.clients.s3.list_buckets()["Buckets"]]
    queues = run.clients.sqs.list_queues()["QueueUrls"]
    assert {known["MERGE_QUEUE_URL"], known["MERGE_DEAD_LETTER_QUEUE_URL"]} == set(queues)


def test_operators_commands_find_the_run(run: LocalRun):
    settings = read_exports(run.data / "settings")
    assert settings["BUCKET"] == run.variables["BUCKET"]
    assert services_with(settings).lifetimes.upload_url == int(settings["UPLOAD_URL_SECONDS"]) * SECOND
    done = subprocess.run(
        [sys.executable, "-m", "actions_cache_cli", "verify", "--local"],
        cwd=ROOT,
        env={**os.environ, "LOCAL_DATA_DIR": str(run.data), "ACTIONS_CACHE_STACK": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "0 archives, 0 B: 0 damaged\n"), done.stderr


def test_everything_listens_on_loopback_only(run: LocalRun):
    listening = [
        connection.laddr
        for process in run.processes()
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    # The server, MiniStack, and SeaweedFS's ten.
    assert len(listening) >= 12
    assert {address.ip for address in listening} == {"127.0.0.1"}


def test_store_refuses_a_wrong_secret(run: LocalRun):
    known = run.variables
    stranger = boto3.client(
        "s3",
        endpoint_url=known["AWS_ENDPOINT_URL_S3"],
        aws_access_key_id=known["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key="guessed",
        region_name="us-east-1",
    )
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        stranger.list_objects_v2(Bucket=known["BUCKET"])


def test_orphans_are_deleted_at_the_interval(run: LocalRun):
    known = {"archive_id": {"S": "e" * 32}}
    run.clients.dynamodb.put_item(TableName=run.variables["ARCHIVES_TABLE"], Item=known)
    bucket, kept, orphan = run.variables["BUCKET"], *(f"archives/{digit * 32}/parts/blob/1" for digit in "ef")
    for key in (kept, orphan):
        run.clients.s3.put_object(Bucket=bucket, Key=key, Body=b"late")

    def left() -> set[str]:
        return {item["Key"] for item in run.clients.s3.list_objects_v2(Bucket=bucket).get("Contents", ())}

    wait_until(lambda: orphan not in left(), 30)
    assert kept in left()


def test_crashed_worker_is_restarted(run: LocalRun):
    [worker] = run.running("--queue-url")
    time.sleep(max(0, worker.create_time() + SHORTEST_LIFE_SECONDS + 0.5 - time.time()))
    worker.kill()
    worker.wait(10)
    wait_until(lambda: run.running("--queue-url"))
    assert run.says("merge worker 1 ended: starting another")


def test_restart_after_sigterm_finds_everything(start_run: StartRun):
    run = start_run().wait_until_ready()
    run.keep("before")
    before = run.kept()
    assert run.stop() == 0
    assert run.lines[-1] == "stopped"
    assert run.processes() == []
    assert not (run.data / "env").exists()

    again = start_run().wait_until_ready()
    assert again.kept() == before
    # So that presigned URLs stay good.
    assert again.variables["AWS_ENDPOINT_URL_S3"] == run.variables["AWS_ENDPOINT_URL_S3"]


def test_closed_pipe_does_not_prevent_the_stop(start_run: StartRun):
    run = start_run(command=["bash", "-c", f"{sys.executable} -m dev.local | grep --max-count 1 --line-buffered ready"])
    wait_until(lambda: run.says("ready"), 60)
    [supervisor] = run.running("dev.local")
    supervisor.terminate()
    assert supervisor.wait(30) in (0, None)
    assert run.processes() == []


def test_full_pipe_holds_up_nothing(start_run: StartRun, tmp_path: Path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(pipe, os.O_WRONLY)
    try:
        run = start_run(command=["bash", "-c", f"exec {sys.executable} -m dev.local > {pipe}"])
        said = b""
        while f"ready {run.url}\n".encode() not in said:
            assert run.process.poll() is None
            time.sleep(0.1)
            with contextlib.suppress(BlockingIOError):
                said += os.read(reader, 65536)
        os.set_blocking(writer, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writer, b"x")
        job = Job(run.url)
        job.save("key", b"data")
        assert job.look_up("key")["ok"]
        time.sleep(0.5)
        assert run.stop() == 0
        assert run.processes() == []
    finally:
        os.close(reader)
        os.close(writer)


def test_ctrl_c_stops_a_run_that_is_starting(start_run: StartRun):
    run = start_run()
    wait_until(lambda: run.says("starting the emulators"))
    run.process.send_signal(signal.SIGINT)
    assert run.process.wait(30) == 0
    assert run.processes() == []


def test_named_endpoints_are_used(start_run: StartRun, endpoints: Endpoints):
    named = {
        "STORE_ENDPOINT_URL": endpoints.store,
        "TABLE_ENDPOINT_URL": endpoints.table,
        "QUEUE_ENDPOINT_URL": endpoints.queue,
        "SECRETS_ENDPOINT_URL": endpoints.secrets,
    }
    run = start_run(**named, **endpoints.environment()).wait_until_ready()
    names = {process.name() for process in run.processes()}
    assert ("weed" in names, "ministack" in names) == (False, True), "MiniStack keeps the edge's secrets"
    assert run.variables["AWS_ENDPOINT_URL_S3"] == endpoints.store
    assert run.variables["AWS_ENDPOINT_URL_DYNAMODB"] == endpoints.table
    assert run.stop() == 0
