"""`make try-on-aws` rehearsed whole against the emulator, and stopped and failing half-way: nothing is ever left."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import urllib3

from actions_cache_cli.try_on_aws.throwaway import MANAGED_STACK, PREFIX
from tests.aws.deploy.issuer import HOST, server_context
from tests.aws.deploy.stack import EMULATED, PARAMETERS, ROOT, Emulator, Stack, aws_variables, client_of, run_unattended
from tests.support.private_ca import self_signed

pytestmark = pytest.mark.timeout(1500)


@dataclass
class Account:
    endpoint: str
    directory: Path
    environment: dict[str, str]
    certificate: Path
    issuer: str
    """URL of the emulator's issuer, by https."""

    def client(self, service: str) -> Any:
        return client_of(self.endpoint, service)

    def command(self, suffix: str, template: Path = EMULATED, *build: str) -> list[str | Path]:
        return [sys.executable, "-m", "tests.aws.deploy.rehearsal", template, self.result(suffix), *build]

    def result(self, suffix: str) -> Path:
        return self.directory / f"{suffix}.md"

    @contextmanager
    def rehearsed(self, suffix: str, template: Path = EMULATED, *build: str, **given: str) -> "Iterator[Running]":
        with socket.socket() as free:
            free.bind((HOST, 0))
            port = free.getsockname()[1]
        log = self.directory / f"{suffix}.log"
        environment = self.environment | {"TRY_SUFFIX": suffix, "TRY_URL": f"https://{HOST}:{port}"} | given
        edge: list[str | Path] = [
            sys.executable,
            "-m",
            "tests.aws.deploy.edge",
            f"{PREFIX}{suffix}",
            str(port),
            self.certificate,
        ]
        with (
            subprocess.Popen(edge, env=environment, cwd=ROOT) as serving,
            log.open("w") as out,
            subprocess.Popen(
                self.command(suffix, template, *build),
                env=environment,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            ) as process,
        ):
            try:
                yield Running(process, log)
            finally:
                process.kill()
                serving.kill()

    def left(self, suffix: str) -> list[str]:
        """Return what is still there of a try."""
        name = f"{PREFIX}{suffix}"
        stacks = self.client("cloudformation").describe_stacks()["Stacks"]
        found = [row["StackName"] for row in stacks if row["StackStatus"] != "DELETE_COMPLETE"]
        [*managed] = (row for row in stacks if row["StackName"] == MANAGED_STACK)
        found += self.client("dynamodb").list_tables()["TableNames"]
        found += [row["Name"] for row in self.client("s3").list_buckets()["Buckets"]]
        found += [row["logGroupName"] for row in self.client("logs").describe_log_groups()["logGroups"]]
        found += self.client("sqs").list_queues().get("QueueUrls", ())
        for stack in managed:
            [bucket] = [row["OutputValue"] for row in stack["Outputs"] if row["OutputKey"] == "SourceBucket"]
            listed = self.client("s3").list_objects_v2(Bucket=bucket, Prefix=name)
            found += [row["Key"] for row in listed.get("Contents", ())]
        return [item for item in found if name in item]


@dataclass
class Running:
    process: subprocess.Popen[bytes]
    log: Path

    def until(self, text: str, seconds: float = 400) -> None:
        end = time.monotonic() + seconds
        while text not in self.log.read_text():
            assert time.monotonic() < end, self.log.read_text()
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.05)

    def interrupt(self) -> None:
        """Interrupt the whole process group, as a terminal does."""
        os.killpg(self.process.pid, signal.SIGINT)

    def end(self, seconds: float = 600) -> int:
        return self.process.wait(seconds)

    @property
    def said(self) -> str:
        return self.log.read_text()


@contextmanager
def serving_issuers(endpoint: str, certificate: Path) -> Iterator[str]:
    """Serves by https what the emulator serves of the newest issuer, as AWS does by itself."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            stacks = client_of(endpoint, "cloudformation").describe_stacks()["Stacks"]
            outputs = {
                row["OutputKey"]: row["OutputValue"]
                for stack in stacks
                if stack["StackStatus"] == "CREATE_COMPLETE"
                for row in stack.get("Outputs", ())
            }
            url = urlsplit(outputs["IssuerUrl"])
            place = f"{endpoint}/restapis/{url.netloc.split('.')[0]}{url.path}/_user_request_{self.path}"
            answer = urllib3.request("GET", place)
            self.send_response(answer.status)
            self.send_header("Content-Length", str(len(answer.data)))
            self.end_headers()
            self.wfile.write(answer.data)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        server.socket = server_context(certificate).wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"https://{HOST}:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    directory = tmp_path_factory.mktemp("try")
    certificate = self_signed(directory)
    emulator = Emulator(directory, certificate)
    Stack.write_template()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    architecture = PARAMETERS["Architecture"]
    try:
        with serving_issuers(emulator.endpoint, certificate) as issuer:
            environment = kept | aws_variables(emulator.endpoint)
            environment |= {
                "SSL_CERT_FILE": str(certificate),
                "TRY_ISSUER": issuer,
                "ARCHITECTURE": architecture,
                "PARAMETERS": "StreamDownloads=false",
                "YES": "1",
                "ENTRIES": "2",
                "ENTRY_MIB": "11",
                "BLOCK_MIB": "5",
            }
            yield Account(emulator.endpoint, directory, environment, certificate, issuer)
    finally:
        emulator.stop()


def test_whole_try_succeeds_and_leaves_nothing(account: Account) -> None:
    """This is the one try with the real build."""
    with account.rehearsed("whole") as running:
        code = running.end()
        said = running.said
    assert "Nothing is left." in said
    result = account.result("whole").read_text()
    assert code == 0, said + result
    assert "everything that was tried works" in result
    for row in (
        "save, 4 blocks at once",
        "merge, from the finalize's answer",
        "restore from S3, 1 connection |",
        "restore from S3, 8 connections |",
        "lookup by a function that has to start",
        "lookup by one that runs",
        "its cost, by list prices",
        "ceiling calculated before it began",
    ):
        assert row in result, row
    assert "| FAIL |" not in result
    assert account.left("whole") == []
    assert account.endpoint not in result


@pytest.mark.parametrize("moment", ["Making an issuer", "Deploying", "Measuring"], ids=lambda item: item.split()[0])
def test_interrupted_try_leaves_nothing(account: Account, moment: str) -> None:
    suffix = f"stop{moment[:4].lower().strip()}"
    with account.rehearsed(suffix, EMULATED, "true") as running:
        running.until(moment)
        time.sleep(1)
        running.interrupt()
        code = running.end()
        said = running.said
    assert code == 130, said
    assert "Nothing is left." in said
    assert "Traceback" not in said
    assert account.left(suffix) == []
    assert "it was interrupted" in account.result(suffix).read_text()


def test_interrupted_deletion_goes_on(account: Account) -> None:
    with account.rehearsed("again", EMULATED, "false") as running:
        running.until("Deleting everything")
        os.kill(running.process.pid, signal.SIGINT)
        code = running.end()
        said = running.said
    assert code == 1
    assert "still deleting" in said
    assert "Nothing is left." in said
    assert account.left("again") == []


def test_failed_build_leaves_nothing(account: Account) -> None:
    with account.rehearsed("build", EMULATED, "false") as running:
        assert running.end() == 1
        assert "Nothing is left." in running.said
    assert "- the build failed" in account.result("build").read_text()
    assert account.left("build") == []


def test_failed_deploy_leaves_nothing(account: Account, broken: Path) -> None:
    with account.rehearsed("deploy", broken, "true") as running:
        assert running.end() == 1
        assert "Nothing is left." in running.said
    assert "- the deploy failed" in account.result("deploy").read_text()
    assert account.left("deploy") == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"MAX_USD": "0.001"}, r"may cost \$"),
        ({"MAX_USD": "much"}, "isn't a number of dollars"),
        ({"ENTRIES": "0"}, "ENTRIES from 1 to 1000"),
        ({"YES": ""}, "say YES=1"),
        ({"ARCHITECTURE": "sparc"}, "arm64 or x86_64"),
        ({"REGION": "mars-1"}, "AWS has no region"),
        ({"PARAMETERS": "Dashboard=maybe"}, "say one of true, false"),
    ],
)
def test_invalid_try_creates_nothing(account: Account, given: dict[str, str], said: str) -> None:
    environment = account.environment | {"TRY_SUFFIX": "never"} | given
    ran = run_unattended(account.command("never", EMULATED, "true"), environment)
    assert ran.returncode == 2, ran.stderr
    assert re.search(said, ran.stderr)
    assert not account.result("never").exists()
    assert account.left("never") == []


def cleaned(account: Account, name: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "actions_cache_cli.try_on_aws", "--clean", name]
    return run_unattended(command, account.environment)


def test_undeletable_things_are_named(account: Account) -> None:
    tables, s3 = account.client("dynamodb"), account.client("s3")
    name = f"{PREFIX}stuck"
    shape: Any = {
        "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": [{"AttributeName": "a", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "a", "AttributeType": "S"}],
    }
    tables.create_table(TableName=f"{name}-kept", DeletionProtectionEnabled=True, **shape)
    tables.create_table(TableName=f"{name}-goes", **shape)
    tables.create_table(TableName="somebody-elses", **shape)
    s3.create_bucket(Bucket=f"{name}-bucket")
    s3.put_object(Bucket=f"{name}-bucket", Key="archives/x", Body=b"x")
    s3.create_multipart_upload(Bucket=f"{name}-bucket", Key="archives/y")
    first = cleaned(account, name)
    assert first.returncode == 1
    assert f"table {name}-kept: " in first.stderr
    assert account.left("stuck") == [f"{name}-kept"]
    tables.update_table(TableName=f"{name}-kept", DeletionProtectionEnabled=False)
    again = cleaned(account, name)
    assert (again.returncode, again.stderr.splitlines()[-1]) == (0, "Nothing is left.")
    assert "somebody-elses" in tables.list_tables()["TableNames"]


@pytest.mark.parametrize("name", ["actions-cache", PREFIX, "aws-sam-cli-managed-default"])
def test_only_a_try_is_cleaned(account: Account, name: str) -> None:
    ran = cleaned(account, name)
    assert ran.returncode == 2
    assert "isn't a try's name" in ran.stderr
