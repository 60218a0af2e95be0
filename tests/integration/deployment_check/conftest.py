"""A real local run to be checked, and checks to run against it."""

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import boto3
import pytest

from actions_cache_cli.deployment_check.__main__ import CHECKS, run_all
from actions_cache_cli.deployment_check.check import Context, Result
from actions_cache_cli.deployment_check.stack import Concurrency, Stack, signing_secret
from actions_cache_cli.doctor.address import read_address
from dev.clients.local_server import running_server

Verify = Callable[..., Mapping[str, Result]]


@pytest.fixture(scope="session")
def run_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("verified")


@pytest.fixture(scope="session")
def server(run_directory: Path) -> Iterator[str]:
    with running_server(run_directory) as url:
        yield url


@pytest.fixture(scope="session")
def unmerging_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Provide a server that never merges, so that what streams once streams at any later request too."""
    with running_server(tmp_path_factory.mktemp("unmerging"), {"LOCAL_MERGE_WORKERS": "0"}) as url:
        yield url


@pytest.fixture(scope="session")
def stack(server: str, run_directory: Path) -> Stack:
    """Provide this run's bucket and secret as `read_stack` returns a deployed stack's."""
    lines = (run_directory / "data" / "env").read_text().splitlines()
    env = dict(shlex.split(line)[1].split("=", 1) for line in lines)
    session = boto3.Session(env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"], region_name=env["AWS_REGION"])
    secrets = session.client("secretsmanager", endpoint_url=env["AWS_ENDPOINT_URL_SECRETS_MANAGER"])
    value = secrets.get_secret_value(SecretId=env["URL_SIGNING_SECRET_ARN"])["SecretString"]
    s3 = session.client("s3", endpoint_url=env["AWS_ENDPOINT_URL_S3"])
    return Stack(s3, env["BUCKET"], signing_secret(value), server, "any", concurrency=Concurrency(1000, 1000, 20))


@pytest.fixture
def verify() -> Verify:
    """Provide a function that runs all or the named checks of a URL and returns the results by title."""

    def checked(url: str, *titles: str, **context: Any) -> Mapping[str, Result]:
        return {result.title: result for result in results(Context(read_address(url), None, **context), titles)}

    return checked


def results(context: Context, titles: Sequence[str] = ()) -> list[Result]:
    unknown = set(titles) - {check.title for check in CHECKS}
    assert not unknown, f"no such checks: {unknown}"
    return run_all(context, [check for check in CHECKS if not titles or check.title in titles], lambda _: None)
