"""Programs that replace or bundle node's http work with the hook loaded, in an action's process."""

import subprocess
from pathlib import Path

import pytest

from tests.support.fake_cache_server import STATUS, FakeCacheServer
from tests.support.hooked_job import install_hook

HERE = Path(__file__).parent
SUITES = HERE / "suites"
MODULES = HERE / "node_modules"


def run(variables: dict[str, str], *arguments: str | Path) -> str:
    if not MODULES.is_dir():
        pytest.skip("nock, msw, jest and webpack aren't installed: run `make test-slow`")
    ran = subprocess.run(
        ["node", *map(str, arguments)],
        env=variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=HERE,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


@pytest.fixture(params=["protect", "fast"])
def hooked(
    request: pytest.FixtureRequest, hook: Path, ours: FakeCacheServer, variables: dict[str, str]
) -> dict[str, str]:
    install_hook(hook.parent, f"{ours.url}/", mode=request.param)
    return variables


@pytest.mark.parametrize("suite", ["nock.cjs", "msw.mjs"])
def test_suites_that_replace_http_work(hooked: dict[str, str], suite: str, github: FakeCacheServer) -> None:
    assert run(hooked, SUITES / suite) == "well\n"
    assert set(github.calls) == {"GET /twirp/x"}


def test_jest_works(hooked: dict[str, str], github: FakeCacheServer) -> None:
    jest = MODULES / "jest" / "bin" / "jest.js"
    said = run(hooked, jest, "--rootDir", SUITES, "--testMatch", "**/*.test.cjs", "--runInBand", "--no-cache")
    assert "3 passed" in said
    assert github.calls == ["GET /twirp/x"]


def test_webpack_builds_the_same(hooked: dict[str, str], tmp_path: Path, ours: FakeCacheServer) -> None:
    def build(name: str, variables: dict[str, str]) -> bytes:
        webpack = MODULES / "webpack" / "bin" / "webpack.js"
        run(variables, webpack, "--mode", "production", "--target=node", SUITES / "entry.js", "-o", tmp_path / name)
        return (tmp_path / name / "main.js").read_bytes()

    assert build("hooked", hooked) == build("plain", {**hooked, "NODE_OPTIONS": ""})
    assert ours.calls == [f"GET {STATUS}"]
