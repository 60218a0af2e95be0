"""The real sccache: a C project compiled in one job, and found in the cache by the next."""

import subprocess
import zlib
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import pytest

from dev.clients.runtime_token import BRANCH, DEFAULT_BRANCH, READ, job_variables, runtime_token
from dev.clients.sccache import PROJECT, Stats, compiler, running_sccache
from tests.e2e.conftest import new_repository

pytestmark = [
    pytest.mark.client("sccache"),
    pytest.mark.skipif(compiler() is None, reason="no C compiler is on PATH: install one to see sccache use the cache"),
]

FILES = len(list(PROJECT.glob("*.c")))
APIS = [
    pytest.param(api, id=api, marks=pytest.mark.client(version=f"{version('sccache')} by {api}"))
    for api in ("v2", "v1")
]


def built(workspace: Path, variables: dict[str, str]) -> Stats:
    """Compile in a job of its own, with nothing left of another's."""
    workspace.mkdir()
    with running_sccache(workspace, variables) as sccache:
        program = sccache.build()
        printed = subprocess.check_output([program, "a text"], text=True)
        assert printed.split() == [str(zlib.crc32(b"a text")), str(zlib.adler32(b"a text"))]
        return sccache.stats()


class Builds(NamedTuple):
    """Counts of three jobs, of which only the second may write."""

    cold: Stats
    saved: Stats
    warm: Stats


@pytest.fixture(scope="module", params=APIS)
def builds(request: pytest.FixtureRequest, server: str, tmp_path_factory: pytest.TempPathFactory) -> Builds:
    directory, repository = tmp_path_factory.mktemp("jobs"), new_repository()
    token = runtime_token(repository=repository)
    read_only = runtime_token([(BRANCH, READ), (DEFAULT_BRANCH, READ)], repository)
    jobs = {"cold": read_only, "saved": token, "warm": read_only}
    return Builds(*(built(directory / name, job_variables(server, its, request.param)) for name, its in jobs.items()))


@pytest.mark.client(feature="a C project's second build takes every object from the cache")
def test_compiled_objects_are_reused_by_next_job(builds: Builds):
    assert builds.saved == Stats(hits=0, misses=FILES, written=FILES, errors=0)
    assert builds.warm == Stats(hits=FILES, misses=0, written=0, errors=0)


@pytest.mark.client(feature="a read-only token: hits are used, misses compiled")
def test_read_only_job_uses_hits_and_compiles_misses(builds: Builds):
    assert (builds.cold.hits, builds.cold.misses, builds.cold.written) == (0, FILES, 0)
    assert builds.warm.hits == FILES
