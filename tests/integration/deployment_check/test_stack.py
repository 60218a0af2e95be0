"""The stack is read with the deployer's credentials, by CloudFormation and Secrets Manager of an emulator."""

import json
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any

import boto3
import pytest
from botocore.exceptions import WaiterError

from actions_cache.domain.access import GITHUB
from actions_cache.domain.refused_job import Refusals, RefusedJob
from actions_cache_cli.deployment_check.__main__ import parsed, prepared
from actions_cache_cli.deployment_check.check import Context, Outcome, Result
from actions_cache_cli.deployment_check.stack import (
    API_URL,
    BUCKET,
    CLAIMS,
    ISSUERS,
    MERGE_WORKERS,
    RUNNER_URL,
    SECRET,
    SEEK_THROUGH,
    Stack,
    StackUnreadable,
    read_stack,
)
from actions_cache_cli.doctor.address import read_address
from dev.clients.local_server import free_port
from dev.local.emulators import bare_environment, executable
from dev.local.template import Template
from tests.integration.deployment_check.conftest import results
from tests.integration.local_run.local_run import wait_until

START_SECONDS = 30
WAITER = {"Delay": 1, "MaxAttempts": 30}
NAME = "actions-cache"
RESOURCES = {
    "Bucket": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "the-bucket"}},
    "UrlSigningSecret": {
        "Type": "AWS::SecretsManager::Secret",
        "Properties": {"Name": "the-secret", "SecretString": '{"current": "signs", "previous": "no more"}'},
    },
}

NAMELESS = {name: {"Type": row["Type"], "Properties": {}} for name, row in RESOURCES.items()}
NAMELESS["UrlSigningSecret"]["Properties"] = {"SecretString": '{"current": "signs"}'}
API = "https://a.example/v1"
OUTPUTS = {BUCKET: {"Ref": "Bucket"}, SECRET: {"Ref": "UrlSigningSecret"}, RUNNER_URL: "https://d111.cloudfront.net/"}


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory, port = tmp_path_factory.mktemp("emulator"), free_port()
    settings = {
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_HOST": "127.0.0.1",
        "SERVICES": "cloudformation,s3,secretsmanager,lambda,iam",
        "PERSIST_STATE": "0",
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
    }
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [executable("ministack")], env=bare_environment(directory) | settings, cwd=directory, stdout=log, stderr=log
        )
    try:
        wait_until(lambda: is_ready(port), START_SECONDS)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/_ministack/health", timeout=5):
            return True
    except OSError:
        return False


@pytest.fixture
def deployer(emulator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", emulator)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "deployer")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


def begin(name: str, resources: object, outputs: Mapping[str, object], **parameters: str | int) -> Any:
    """Start to create a stack, and return CloudFormation's client."""
    formation = boto3.client("cloudformation")
    template = {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Parameters": {name: {"Type": "String"} for name in parameters},
        "Resources": resources,
        "Outputs": {name: {"Value": value} for name, value in outputs.items()},
    }
    formation.create_stack(
        StackName=name,
        TemplateBody=json.dumps({key: part for key, part in template.items() if part}),
        Parameters=[{"ParameterKey": name, "ParameterValue": str(value)} for name, value in parameters.items()],
    )
    return formation


def create(name: str, resources: object, outputs: Mapping[str, object], **parameters: str | int) -> None:
    formation = begin(name, resources, outputs, **parameters)
    formation.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig=WAITER)


@pytest.mark.usefixtures("deployer")
def test_bucket_and_secret_are_found_by_outputs() -> None:
    create(NAME, RESOURCES, OUTPUTS, TokenClaims="repository_id=42")
    stack = read_stack(NAME)
    assert (stack.token_claims, stack.token_issuers) == ("repository_id=42", GITHUB)
    with pytest.raises(StackUnreadable, match="no output CleanupFunctionName"):
        stack.refused()
    assert (stack.bucket, stack.secret, stack.runner_url) == ("the-bucket", "signs", OUTPUTS[RUNNER_URL])
    assert stack.key_of_block("0" * 32, "QUJD") is None


@pytest.mark.usefixtures("deployer")
@pytest.mark.parametrize(
    ("parameters", "workers", "api_url"),
    [({}, None, None), ({"MergeWorkers": 7, "SeekThrough": "edge"}, 7, None), ({"SeekThrough": "api"}, None, API)],
    ids=["older", "through the edge", "past the edge"],
)
def test_parameters_are_read(parameters: dict[str, str | int], workers: int | None, api_url: str | None) -> None:
    """The API's URL is known if clients seek past the edge; the account is asked for its concurrency."""
    name = "stack-" + "-".join(map(str, parameters.values()))
    create(name, NAMELESS, {**OUTPUTS, API_URL: API}, **parameters)
    stack = read_stack(name)
    assert stack.concurrency is not None
    assert stack.concurrency.executions >= stack.concurrency.unreserved > 0
    assert (stack.concurrency.merge_workers, stack.api_url) == (workers, api_url)


@pytest.mark.usefixtures("deployer")
def test_failed_stack_says_what_failed_first() -> None:
    waits = {"Handle": {"Ref": "H"}, "Timeout": "1"}
    resources = {
        "Nobody": {"Type": "AWS::CloudFormation::WaitCondition", "Properties": waits},
        "H": {"Type": "AWS::CloudFormation::WaitConditionHandle"},
        "After": {"Type": "AWS::S3::Bucket", "DependsOn": "Nobody"},
    }
    formation = begin("never-made", resources, {})
    with pytest.raises(WaiterError):
        formation.get_waiter("stack_create_complete").wait(StackName="never-made", WaiterConfig=WAITER)
    with pytest.raises(StackUnreadable, match=r"never created \(ROLLBACK_COMPLETE\)\. Nobody: .*mend it, then"):
        read_stack("never-made")


@pytest.mark.usefixtures("deployer")
def test_missing_stack_says_where_to_look() -> None:
    with pytest.raises(StackUnreadable, match="is the stack in this region"):
        read_stack("no-such-stack")


@pytest.mark.usefixtures("deployer")
def test_foreign_stack_says_what_it_lacks() -> None:
    create("another", {"Other": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "other"}}}, {})
    with pytest.raises(StackUnreadable, match=f"no output '{SECRET}'"):
        read_stack("another")


@pytest.mark.usefixtures("deployer")
def test_default_url_is_the_stacks() -> None:
    """The reserved name resolves nowhere, so no more than its name is asked for."""
    create("elsewhere", NAMELESS, {**OUTPUTS, RUNNER_URL: "https://no-such-host.invalid/"})
    context = prepared(parsed(["--stack", "elsewhere"]))
    assert context.address.base == "https://no-such-host.invalid"
    assert context.stack is not None


@pytest.mark.usefixtures("deployer")
def test_url_is_checked_if_its_stack_cannot_be_read() -> None:
    context = prepared(parsed(["--stack", "no-such-stack", "--url", "https://cache.example.com/"]))
    assert "is the stack in this region" in (context.stack_error or "")


def test_missing_url_and_stack_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed([])
    assert "STACK=name" in capsys.readouterr().err


def test_template_has_the_expected_outputs(template: Template) -> None:
    assert {API_URL, BUCKET, SECRET, RUNNER_URL} <= set(template.body["Outputs"])
    assert {CLAIMS, ISSUERS, MERGE_WORKERS, SEEK_THROUGH} <= set(template.body["Parameters"])


# ---------------------------------------------------------------- admitted jobs

GHES = "https://ghes.example/_services/token"


def of_a_stack(title: str, claims: str = "any", issuers: str = GITHUB, *refused: RefusedJob) -> Result:
    s3 = boto3.client("s3", region_name="us-east-1")
    stack = Stack(s3, "b", "s", "https://x/", claims, issuers, lambda: [Refusals(item, 3, 0) for item in refused])
    return of(stack, title)


def of(stack: Stack, title: str) -> Result:
    [result] = results(Context(read_address("https://x/"), None, stack), [title])
    return result


@pytest.mark.parametrize(
    ("claims", "issuers", "outcome", "detail"),
    [
        ("any", GITHUB, Outcome.OK, "TokenClaims is any: every job on github.com may store at your cost"),
        ("any", f"{GHES},{GITHUB}/", Outcome.OK, "TokenClaims is any: every job on github.com may store at your cost"),
        (f"any@{GHES}", f"{GITHUB},{GHES}", Outcome.OK, f"TokenClaims is any@{GHES}: every job of {GHES}"),
        ("any", GHES, Outcome.OK, f"TokenClaims is any: every job of {GHES}"),
        ("repository_id=42", GITHUB, Outcome.OK, "TokenClaims is repository_id=42"),
        ("", GITHUB, Outcome.FAIL, "the stack's parameter TokenClaims is empty, so no job comes in"),
    ],
)
def test_admitted_jobs_are_shown(claims: str, issuers: str, outcome: Outcome, detail: str) -> None:
    result = of_a_stack("it is said whose jobs may come in", claims, issuers)
    assert result.outcome is outcome
    assert result.detail.startswith(detail)
    assert outcome is Outcome.FAIL or result.detail == detail


def test_refused_jobs_are_shown_with_the_value_to_add() -> None:
    title = "refused jobs are known"
    assert of_a_stack(title).detail == "no job was refused in the last seven days"
    jobs = [
        RefusedJob(GITHUB, str(item), f"octo/app-{item}", None, None, (f"repository_id={item}",))
        for item in range(1, 8)
    ]
    result = of_a_stack(title, "repository_id=42", GITHUB, *jobs)
    assert result.outcome is Outcome.OK
    assert "octo/app-1 (3 times; to let it in, add repository_id=1); octo/app-2" in result.detail
    assert result.detail.endswith("and 2 more, `actions-cache refused` has them")


def test_unreadable_table_skips_refused_jobs() -> None:
    def unreadable() -> list[Refusals]:
        raise StackUnreadable("AWS says AccessDenied")

    stack = Stack(boto3.client("s3", region_name="us-east-1"), "b", "s", "https://x/", "any", GITHUB, unreadable)
    result = of(stack, "refused jobs are known")
    assert (result.outcome, result.detail) == (Outcome.SKIP, "AWS says AccessDenied")
