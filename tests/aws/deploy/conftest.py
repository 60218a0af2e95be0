from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.aws.deploy.issuer import HttpsIssuer
from tests.aws.deploy.stack import EMULATED, Emulator, Stack

NOBODY_SIGNALS = """
Resources:
  NobodySignals:
    Type: AWS::CloudFormation::WaitCondition
    DependsOn: [ApiFunction, DownloadFunction]
    Properties: { Handle: !Ref NobodysHandle, Timeout: "1" }
  NobodysHandle:
    Type: AWS::CloudFormation::WaitConditionHandle
"""


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, HttpsIssuer]]:
    """Provide an empty account: its endpoint, and the issuer of its jobs' tokens."""
    directory = tmp_path_factory.mktemp("account")
    issuer = HttpsIssuer(directory)
    emulator = Emulator(directory, issuer.certificate)
    try:
        Stack.write_template()
        yield emulator.endpoint, issuer
    finally:
        emulator.stop()
        issuer.stop()


@pytest.fixture(scope="module")
def stack(account: tuple[str, HttpsIssuer]) -> Iterator[Stack]:
    """Deploy an empty stack."""
    yield from _deployed("actions-cache", *account)


@pytest.fixture(scope="module")
def neighbour(stack: Stack, account: tuple[str, HttpsIssuer]) -> Iterator[Stack]:
    """Deploy a second stack in the same account and region, with its edge behind a web ACL."""
    acl = f"arn:aws:wafv2:us-east-1:000000000000:global/webacl/runners/{'0' * 8}-0000-0000-0000-{'0' * 12}"
    yield from _deployed("actions-cache-dev", *account, WebAclArn=acl)


@pytest.fixture
def broken() -> Iterator[Path]:
    """Write EMULATED, which must be there, with a resource that never succeeds."""
    path = EMULATED.with_name("broken.yaml")  # beside the packages it refers to
    path.write_text(EMULATED.read_text().replace("\nResources:\n", NOBODY_SIGNALS))
    yield path
    path.unlink(missing_ok=True)


def _deployed(name: str, endpoint: str, issuer: HttpsIssuer, **parameters: str) -> Iterator[Stack]:
    stack = Stack(name, endpoint, issuer, parameters)
    try:
        deployed = stack.deploy()
        assert stack.status == "CREATE_COMPLETE", deployed.stdout + deployed.stderr
        yield stack
    finally:
        stack.close()
