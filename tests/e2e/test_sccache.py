"""The real sccache: a C project compiled in one job, and found in the cache by the next."""

import subprocess
import zlib
from importlib.metadata import version
from pathlib import Path

import pytest

from dev.clients.runtime_token import BRANCH, DEFAULT_BRANCH, READ, Api, job_variables, runtime_token
from dev.clients.sccache import PROJECT, Stats, compiler, running_sccache
from tests.support.client_parameters import client_parameters

pytestmark = [
    pytest.mark.client("sccache"),
    pytest.mark.skipif(compiler() is None, reason="no C compiler is on PATH: install one to see sccache use the cache"),
]

FILES = len(list(PROJECT.glob("*.c")))


@pytest.fixture(
    params=client_parameters(version("sccache"), ("server", "v2"), ("unmerged_server", "v2"), ("server", "v1"))
)
def asked(request: pytest.FixtureRequest) -> tuple[str, Api]:
    """A server's URL, and by which API."""
    return request.getfixturevalue(request.param.server), request.param.api


def built(asked: tuple[str, Api], workspace: Path, token: str) -> Stats:
    """Compile in a job of its own, with nothing left of another's."""
    workspace.mkdir()
    server, api = asked
    with running_sccache(workspace, job_variables(server, token, api)) as sccache:
        program = sccache.build()
        printed = subprocess.check_output([program, "a text"], text=True)
        assert printed.split() == [str(zlib.crc32(b"a text")), str(zlib.adler32(b"a text"))]
        return sccache.stats()


@pytest.mark.client(feature="compiles a C project, and takes every object from the cache the second time")
def test_compiled_objects_are_reused_by_next_job(asked: tuple[str, Api], tmp_path: Path, repository: str):
    token = runtime_token(repository=repository)

    first = built(asked, tmp_path / "first", token)
    second = built(asked, tmp_path / "second", token)

    assert first == Stats(hits=0, misses=FILES, written=FILES, errors=0)
    assert second == Stats(hits=FILES, misses=0, written=0, errors=0)


@pytest.mark.client(feature="a token that may only read: hits are used, and a miss is compiled")
def test_read_only_job_uses_hits_and_compiles_misses(asked: tuple[str, Api], tmp_path: Path, repository: str):
    read_only = runtime_token([(BRANCH, READ), (DEFAULT_BRANCH, READ)], repository)

    cold = built(asked, tmp_path / "cold", read_only)
    built(asked, tmp_path / "saved", runtime_token(repository=repository))
    warm = built(asked, tmp_path / "warm", read_only)

    assert (cold.hits, cold.misses, cold.written) == (0, FILES, 0)
    assert warm == Stats(hits=FILES, misses=0, written=0, errors=0)
