"""`make deploy` on a pseudo-terminal, against the emulator: six answers, wrong ones, and what fails half-way.

The tests build on each other, in this order: it is one account's life.
"""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from actions_cache_cli.deploy.answers import FILE
from tests.aws.deploy.conversation import END, INTERRUPT, Conversation
from tests.aws.deploy.issuer import HttpsIssuer
from tests.aws.deploy.stack import (
    EMULATED,
    PARAMETERS,
    ROOT,
    Emulator,
    Stack,
    aws_variables,
    client_of,
    eventually,
    run_unattended,
)

pytestmark = pytest.mark.timeout(1500)

NAME = "assisted"
SETTLED = "_COMPLETE"
SIX = (
    ("1. Region", "us-east-1"),
    ("2. Stack name", NAME),
    ("3. Whose jobs", "octo-org"),
    ("4. Storage limit", "50"),
    ("5. Custom domain", "none"),
    ("6. Who receives alarms", "ops@example.com"),
)


@dataclass
class Account:
    """Describes an account of the emulator's, and this machine's part."""

    endpoint: str
    directory: Path
    environment: dict[str, str]
    issuer: HttpsIssuer

    def client(self, service: str) -> Any:
        return client_of(self.endpoint, service)

    def command(self, template: Path = EMULATED, build: tuple[str, ...] = ("true",)) -> list[str | Path]:
        return [sys.executable, "-m", "tests.aws.deploy.assistant", self.directory, template, *build]

    def talk(self, *command: str | Path, **environment: str) -> Conversation:
        return Conversation(command or self.command(), self.environment | environment, ROOT)

    def unattended(self, *command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        return run_unattended(command or self.command(), self.environment | environment)

    @property
    def stacks(self) -> dict[str, str]:
        rows = self.client("cloudformation").describe_stacks()["Stacks"]
        return {row["StackName"]: row["StackStatus"] for row in rows if row["StackStatus"] != "DELETE_COMPLETE"}

    @property
    def answers(self) -> Path:
        return self.directory / FILE


@pytest.fixture(scope="module")
def github() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b'{"id": 9919}' if self.path == "/users/octo-org" else b"{}"
            self.send_response(200 if self.path == "/users/octo-org" else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory, github: str) -> Iterator[Account]:
    """Provide an empty account."""
    directory = tmp_path_factory.mktemp("account")
    (directory / "answers").mkdir()
    issuer = HttpsIssuer(directory)
    emulator = Emulator(directory, issuer.certificate)
    Stack.write_template()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "GH_", "GITHUB_"))}
    parameters = PARAMETERS | {"TokenIssuers": issuer.url}
    architecture = parameters.pop("Architecture")
    # Whose jobs come in is an answer.
    del parameters["TokenClaims"]
    environment = kept | aws_variables(emulator.endpoint)
    environment |= {
        "GITHUB_API_URL": github,
        "ARCHITECTURE": architecture,
        "PARAMETERS": " ".join(f"{name}={value}" for name, value in parameters.items()),
        "SSL_CERT_FILE": str(issuer.certificate),
        "TERM": "xterm",
    }
    try:
        yield Account(emulator.endpoint, directory / "answers", environment, issuer)
    finally:
        emulator.stop()
        issuer.stop()


@pytest.fixture(scope="module")
def edge(account: Account) -> Iterator[str]:
    """Serve the stack's distribution as soon as the stack exists; yield its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "tests.aws.deploy.edge",
        NAME,
        str(port),
        account.issuer.certificate,
    ]
    with subprocess.Popen(command, env=account.environment, cwd=ROOT) as process:
        yield f"https://127.0.0.1:{port}"
        process.terminate()


# ---------------------------------------------------------------- before anything is asked or made


def test_missing_credentials_ask_nothing(account: Account) -> None:
    nobody = {name: value for name, value in account.environment.items() if not name.startswith("AWS_")}
    nobody |= {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/none", "AWS_SHARED_CREDENTIALS_FILE": "/none"}
    talk = Conversation(account.command(), nobody, ROOT)
    assert talk.end() == 1
    assert "no AWS credentials were found" in talk.heard
    assert "aws configure" in talk.heard
    assert "1. Region" not in talk.heard


def test_missing_terminal_names_missing_answers(account: Account) -> None:
    ran = account.unattended()
    assert ran.returncode == 2
    assert "WHOSE_JOBS=" in ran.stderr
    assert "YES=" in ran.stderr
    assert "Traceback" not in ran.stdout + ran.stderr
    assert not account.answers.exists()


@pytest.mark.parametrize(("count", "key"), [(0, INTERRUPT), (3, END), (len(SIX), INTERRUPT)])
def test_stop_at_a_question_leaves_nothing(account: Account, count: int, key: str) -> None:
    talk = account.talk()
    for title, line in SIX[:count]:
        talk.expect(title)
        talk.answer("> ", line)
    talk.expect(SIX[count][0] if count < len(SIX) else "Go on? [y/N]")
    if count < len(SIX):
        talk.expect(">")
    talk.type(key)
    assert talk.end() == 130
    assert "nothing was changed, and nothing was kept" in talk.heard
    assert "Traceback" not in talk.heard
    assert not list(account.directory.iterdir())
    assert account.stacks == {}


def test_declined_deploy_leaves_nothing(account: Account) -> None:
    talk = account.talk(
        WHOSE_JOBS="octo-org", STACK=NAME, REGION="us-east-1", BUDGET_GIB="5", DOMAIN="none", ALARMS="none"
    )
    talk.answer("Go on? [y/N]", "")
    assert talk.end() == 130
    assert account.stacks == {}
    assert not account.answers.exists()


def test_invalid_parameter_stops_before_the_build(account: Account) -> None:
    ran = account.unattended(WHOSE_JOBS="octo-org", YES="1", PARAMETERS="Dashboard=maybe")
    assert ran.returncode == 2
    assert 'Dashboard can\'t be "maybe": say one of true, false' in ran.stderr
    assert not account.answers.exists()


# ---------------------------------------------------------------- half-way


def test_failed_build_keeps_the_answers(account: Account) -> None:
    build = ("sh", "-c", "echo no such package; exit 3")
    talk = account.talk(*account.command(build=build))
    for title, line in SIX:
        talk.expect(title)
        talk.answer("> ", line)
    talk.answer("Go on? [y/N]", "y")
    assert talk.end() == 1
    assert "no such package" in talk.heard
    assert "the build failed" in talk.heard
    assert account.stacks == {}
    assert 'whose_jobs = "octo-org"' in account.answers.read_text()


def test_failed_deploy_says_why(account: Account, broken: Path) -> None:
    talk = account.talk(*account.command(broken))
    assert talk.end(300) == 1
    assert "NobodySignals (AWS::CloudFormation::WaitCondition)" in talk.heard
    assert "Everything that was created is deleted again" in talk.heard
    assert "Go on?" not in talk.heard, "these answers were agreed to"
    assert account.stacks[NAME] == "ROLLBACK_COMPLETE"


def test_six_answers_deploy_and_check(account: Account, edge: str) -> None:
    """Wrong answers are asked again, the remains of a failed deploy are deleted first, and the build is real."""
    account.answers.unlink()
    talk = account.talk(*account.command(build=()), CHECK_URL=edge)
    wrong = {"1.": "mars-1", "2.": "my cache", "3.": "nobody-at-all", "4.": "much", "5.": "x", "6.": "me"}
    for title, line in SIX:
        talk.expect(title)
        talk.answer("> ", wrong[title[:2]])
        talk.answer("> ", line)
    talk.expect("An earlier deploy of it failed")
    talk.expect("It will create")
    talk.expect("4 DynamoDB tables")
    talk.expect("1 SNS topic: which e-mails the alarms")
    talk.expect("idle: $3.29 a month")  # cleanup runs oftener here
    talk.answer("Go on? [y/N]", "y")
    talk.expect("Deleting what the failed deploy", 60)
    talk.expect("building for", 120)
    talk.expect("Deploying", 400)
    talk.expect("Checking", 400)
    code = talk.end(300)
    assert code == 0, talk.heard
    for said in (
        'AWS has no region "mars-1"',
        "\"my cache\" can't be a stack's name",
        "GitHub shows no owner called nobody-at-all",
        '"much" isn\'t a number of GiB',
        '"x" isn\'t a domain name',
        '"me" is neither an e-mail address',
        "octo-org has the id 9919",
        "($1.23 a month when full)",
        "nothing failed",
        '{"url": "https://',
        "get-secret-value --region us-east-1",
    ):
        assert said in talk.heard, said
    assert talk.heard.count("[y/N]") == 1
    assert "7. " not in talk.heard
    assert "\x1b[2J" not in talk.heard


def test_answers_are_deployed(account: Account) -> None:
    [row] = account.client("cloudformation").describe_stacks(StackName=NAME)["Stacks"]
    parameters = {item["ParameterKey"]: item["ParameterValue"] for item in row["Parameters"]}
    assert parameters["TokenClaims"] == "repository_owner_id=9919"
    assert parameters["StoreBudgetBytes"] == str(50 * 1024**3)
    assert parameters["AlarmEmail"] == "ops@example.com"
    [topic] = account.client("sns").list_topics()["Topics"]
    [subscription] = account.client("sns").list_subscriptions_by_topic(TopicArn=topic["TopicArn"])["Subscriptions"]
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "ops@example.com")
    alarms = account.client("cloudwatch").describe_alarms()["MetricAlarms"]
    assert alarms
    assert {tuple(alarm["AlarmActions"]) for alarm in alarms} == {(topic["TopicArn"],)}


def test_stack_is_protected_against_data_loss(account: Account) -> None:
    policy = json.loads(account.client("cloudformation").get_stack_policy(StackName=NAME)["StackPolicyBody"])
    [denied] = [row for row in policy["Statement"] if row["Effect"] == "Deny"]
    assert denied["Action"] == ["Update:Replace", "Update:Delete"]


@pytest.mark.parametrize("attend", [True, False], ids=["terminal", "none"])
def test_next_run_asks_nothing(account: Account, edge: str, attend: bool) -> None:
    if attend:
        talk = account.talk(CHECK_URL=edge)
        code, heard = talk.end(300), talk.heard
    else:
        ran = account.unattended(CHECK_URL=edge)
        code, heard = ran.returncode, ran.stdout
    assert code == 0, heard
    assert f"Answers come from {FILE}, [default]" in heard
    assert "will be updated" in heard
    assert ">" not in heard.replace("->", "").partition("Checking")[0]
    assert "[y/N]" not in heard


def test_changed_answer_is_confirmed(account: Account) -> None:
    before = account.answers.read_text()
    talk = account.talk(BUDGET_GIB="60", TAGS='team="build it"')
    talk.expect(f'StoreBudgetBytes: "{50 * 1024**3}" becomes "{60 * 1024**3}"')
    talk.answer("Go on? [y/N]", "n")
    assert talk.end() == 130
    assert account.answers.read_text() == before


def test_tags_and_parameters_reach_the_stack(account: Account, edge: str) -> None:
    """The emulator gives no role its boundary; tests/aws/deploy/test_policy.py covers that."""
    boundary = "arn:aws:iam::000000000000:policy/bound"
    parameters = f"{account.environment['PARAMETERS']} PermissionsBoundary={boundary}"
    ran = account.unattended(CHECK_URL=edge, YES="1", TAGS='team="build it"', PARAMETERS=parameters)
    assert ran.returncode == 0, ran.stdout
    [row] = account.client("cloudformation").describe_stacks(StackName=NAME)["Stacks"]
    assert {item["Key"]: item["Value"] for item in row["Tags"]}["team"] == "build it"
    given = {item["ParameterKey"]: item["ParameterValue"] for item in row["Parameters"]}
    assert given["PermissionsBoundary"] == boundary


def test_failed_check_still_says_what_is_next(account: Account) -> None:
    ran = account.unattended(CHECK_URL="http://127.0.0.1:9")
    assert ran.returncode == 1
    assert "takes no connections" in ran.stdout
    assert '{"url": "' in ran.stdout
    assert f"make verify-deployment STACK={NAME}" in ran.stderr


def test_failed_update_is_rolled_back(account: Account, broken: Path) -> None:
    ran = account.unattended(*account.command(broken))
    assert ran.returncode == 1
    assert "NobodySignals" in ran.stderr
    assert "The update was rolled back, and the cache works as before" in ran.stderr
    assert account.stacks[NAME] == "UPDATE_ROLLBACK_COMPLETE"


def test_interrupted_deploy_says_it_goes_on(account: Account, broken: Path) -> None:
    talk = account.talk(*account.command(broken))
    talk.expect("Deploying")
    eventually(lambda: account.stacks[NAME].endswith("_IN_PROGRESS"), seconds=60, every=0.05)
    talk.type(INTERRUPT)
    assert talk.end() == 130
    assert "CloudFormation goes on by itself" in talk.heard
    assert "Traceback" not in talk.heard
    again = account.unattended()
    assert again.returncode in (1, 2)
    assert (
        "CloudFormation is at work" in again.stdout or "CHECK" in again.stdout or account.stacks[NAME].endswith(SETTLED)
    )
    settled: Callable[[], bool] = lambda: not account.stacks[NAME].endswith("_IN_PROGRESS")  # noqa: E731
    eventually(settled, seconds=120)
    assert account.stacks[NAME] == "UPDATE_ROLLBACK_COMPLETE"


def test_deletion_includes_the_topic(account: Account) -> None:
    deleted = account.unattended(
        ROOT / ".tools" / "sam" / "bin" / "sam", "delete", "--stack-name", NAME, "--no-prompts", "--region", "us-east-1"
    )
    assert deleted.returncode == 0, deleted.stdout + deleted.stderr
    assert account.client("sns").list_topics()["Topics"] == []
