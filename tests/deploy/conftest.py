from collections.abc import Iterator

import pytest

from tests.deploy.issuer import Issuer
from tests.deploy.stack import Emulator, Stack


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Deployed, and empty."""
    directory = tmp_path_factory.mktemp("stack")
    issuer = Issuer(directory)
    emulator = Emulator(directory, issuer.certificate)
    stack = Stack(emulator.endpoint, issuer)
    try:
        stack.write_template()
        deployed = stack.deploy()
        assert stack.status == "CREATE_COMPLETE", deployed.stdout + deployed.stderr
        yield stack
    finally:
        stack.close()
        emulator.stop()
        issuer.stop()
