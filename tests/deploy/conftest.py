from collections.abc import Iterator

import pytest

from tests.deploy.issuer import Issuer
from tests.deploy.stack import Emulator, Stack


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Issuer]]:
    """Provide an empty account: its endpoint, and the issuer of its jobs' tokens."""
    directory = tmp_path_factory.mktemp("account")
    issuer = Issuer(directory)
    emulator = Emulator(directory, issuer.certificate)
    try:
        Stack.write_template()
        yield emulator.endpoint, issuer
    finally:
        emulator.stop()
        issuer.stop()


@pytest.fixture(scope="module")
def stack(account: tuple[str, Issuer]) -> Iterator[Stack]:
    """Deploy an empty stack."""
    yield from _deployed("actions-cache", *account)


@pytest.fixture(scope="module")
def neighbour(stack: Stack, account: tuple[str, Issuer]) -> Iterator[Stack]:
    """Deploy a second stack in the same account and region, with its edge behind a web ACL."""
    acl = f"arn:aws:wafv2:us-east-1:000000000000:global/webacl/runners/{'0' * 8}-0000-0000-0000-{'0' * 12}"
    yield from _deployed("actions-cache-dev", *account, WebAclArn=acl)


def _deployed(name: str, endpoint: str, issuer: Issuer, **parameters: str) -> Iterator[Stack]:
    stack = Stack(name, endpoint, issuer, parameters)
    try:
        deployed = stack.deploy()
        assert stack.status == "CREATE_COMPLETE", deployed.stdout + deployed.stderr
        yield stack
    finally:
        stack.close()
