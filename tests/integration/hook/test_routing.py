"""Where an action's requests go: the cache's to our server, and what else the runner's URL serves to GitHub."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import product
from pathlib import Path

import pytest

from functions.api.passthrough import OUR_PATHS
from tests.support.fake_cache_server import STATUS, Answer, FakeCacheServer, fake_cache_server
from tests.support.hooked_job import action_variables, install_hook, run_action
from tests.support.private_ca import CertificateAuthority

HERE = Path(__file__).parent
FORMS = HERE / "forms.cjs"
LOOK_CALL = f"GET {STATUS}"


@pytest.fixture(params=list(product(["http", "https"], repeat=2)), ids="-".join)
def servers(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[FakeCacheServer, FakeCacheServer, dict[str, str]]]:
    """Provide our server, GitHub's, and what a client needs to trust both."""
    authority = CertificateAuthority()
    (tmp_path / "ca.pem").write_text(authority.pem)
    with ExitStack() as stack:
        context = authority.server_context(tmp_path)
        ours, github = (
            stack.enter_context(fake_cache_server(context if scheme == "https" else None)) for scheme in request.param
        )
        yield ours, github, {"NODE_EXTRA_CA_CERTS": str(tmp_path / "ca.pem")}


def run_forms(variables: dict[str, str], *arguments: str) -> dict[str, object]:
    ran = subprocess.run(
        ["node", str(FORMS), *arguments], env=variables, capture_output=True, text=True, check=True, timeout=60
    )
    assert ran.stderr == ""
    answers: dict[str, object] = json.loads(ran.stdout)
    return answers


def names(server: FakeCacheServer) -> list[str]:
    """Return the forms of the requests that a server got."""
    return [
        asked.path.partition("ArtifactService/")[2].partition("?")[0] for asked in server.asked if asked.path != STATUS
    ]


@pytest.mark.parametrize("is_up", [True, False])
def test_artifacts_go_where_the_runner_pointed(
    servers: tuple[FakeCacheServer, FakeCacheServer, dict[str, str]], tmp_path: Path, temporary: Path, *, is_up: bool
) -> None:
    ours, github, trust = servers
    ours.faults[LOOK_CALL] = Answer(200 if is_up else 503)
    hook = install_hook(tmp_path / "hook", f"{ours.url}/")
    answers = run_forms(action_variables(hook, temporary, ACTIONS_RESULTS_URL=f"{github.url}/", **trust))
    assert set(answers.values()) == {200}
    ours_only = [name for name in answers if name.startswith("ours-")]
    assert names(ours) == ours_only
    assert names(github) == [name for name in answers if name not in ours_only]
    for asked in github.asked:
        assert asked.header("host") == [github.url.partition("//")[2]]
        assert asked.path.endswith("?a=%2F..&b")
        if "userinfo" in asked.path:
            assert asked.header("authorization") == [], "our server's password isn't GitHub's"
            continue
        assert asked.header("authorization") == ["Bearer token"]
        assert "".join(asked.header("x-repeated")).replace(", ", "") == "ab"
    assert {host for asked in ours.asked for host in asked.header("host")} == {ours.url.partition("//")[2]}


@pytest.mark.parametrize("copies", [["hook"], ["hook", "hook"], ["hook", "copy"]], ids=" ".join)
@pytest.mark.parametrize("arguments", [[], ["worker"]], ids=["main", "worker"])
def test_hook_acts_once_in_each_thread(
    ours: FakeCacheServer,
    github: FakeCacheServer,
    variables: dict[str, str],
    tmp_path: Path,
    copies: list[str],
    arguments: list[str],
) -> None:
    loaded = [install_hook(tmp_path / copy, f"{ours.url}/") for copy in copies]
    options = " ".join(f"--require {hook}" for hook in loaded)
    answers = run_forms({**variables, "NODE_OPTIONS": options}, *arguments)
    assert set(answers.values()) == {200}
    assert len(names(github)) == len(answers) - 3 == len(set(names(github)))
    assert ours.calls.count(LOOK_CALL) == 1


def asked_for(paths: list[str], variables: dict[str, str]) -> None:
    run_action(
        f"""
        const {{ request }} = require('http')
        const {{ hostname, port }} = new URL(process.env.ACTIONS_RESULTS_URL)
        for (const path of {json.dumps(paths)}) request({{ hostname, port, path }}, (it) => it.resume()).end()
        """,
        variables,
    )


def test_our_servers_own_paths_stay_with_it(
    ours: FakeCacheServer, github: FakeCacheServer, variables: dict[str, str]
) -> None:
    """Requests there may carry a token that manages the server, which GitHub isn't to see."""
    own = [path for root in OUR_PATHS for path in (root, f"{root.rstrip('/')}/x", f"/{root}", root.upper())]
    own = [path for path in own if path != "/x"]
    asked_for([*own, "/x/../repos/o/r", "/healthy", "/reposit", "/twirp/x"], variables)
    assert sorted(asked.path for asked in github.asked) == ["/healthy", "/reposit", "/twirp/x"]
    # http.server drops a second slash.
    assert {asked.path for asked in ours.asked} == {path.replace("//", "/") for path in own} | {
        "/x/../repos/o/r",
        STATUS,
    }


@pytest.mark.parametrize(
    "path",
    [
        "/twirp/github.actions.results.api.v1.CacheService/GetCacheEntryDownloadURL",
        "/_apis/artifactcache/cache?keys=k",
        "/blobs/a/b?x",
        "/blobs/../blobs/a?x",
    ],
)
def test_cache_requests_never_go_to_github(
    ours: FakeCacheServer, github: FakeCacheServer, variables: dict[str, str], path: str
) -> None:
    ours.faults[LOOK_CALL] = Answer(503)
    asked_for([path], variables)
    assert (ours.calls, github.calls) == ([LOOK_CALL], [])


CHILD = "require('child_process').execFileSync('node', ['-e', process.argv[1]], { stdio: 'inherit' })"
ARTIFACT = "require('http').get(new URL('/twirp/x', process.env.ACTIONS_RESULTS_URL), (answer) => answer.resume())"
KEPT = "ACTIONS_CACHE_HOOK_RESULTS_URL"


def run_child(variables: dict[str, str], script: str = ARTIFACT) -> None:
    subprocess.run(["node", "-e", CHILD, script], env=variables, check=True, timeout=60)


def test_children_know_both_servers(ours: FakeCacheServer, github: FakeCacheServer, variables: dict[str, str]) -> None:
    run_child(variables)
    assert (ours.calls, github.calls) == ([LOOK_CALL], ["GET /twirp/x"])


@pytest.mark.parametrize("is_first", [True, False], ids=["first process", "runner that names our server"])
@pytest.mark.parametrize("poison", ["{url}/", "0 {url}/", "{seal} {url}/", "nonsense", "file:///etc/passwd", ""])
def test_poisoned_variable_leads_nowhere(
    ours: FakeCacheServer, github: FakeCacheServer, variables: dict[str, str], poison: str, *, is_first: bool
) -> None:
    """A step without the token can set it by $GITHUB_ENV."""
    with fake_cache_server() as attackers:
        poisoned = {**variables, KEPT: poison.format(url=attackers.url, seal="0" * 64)}
        if not is_first:
            poisoned["ACTIONS_RESULTS_URL"] = f"{ours.url}/"
        run_child(poisoned)
        assert attackers.asked == []
    assert "GET /twirp/x" in (github if is_first else ours).calls


@pytest.mark.parametrize("runners", ["http://results.example.com/", "ftp://127.0.0.1/", "nowhere"])
def test_unsafe_url_of_the_runner_isnt_used(ours: FakeCacheServer, variables: dict[str, str], runners: str) -> None:
    run_child({**variables, "ACTIONS_RESULTS_URL": runners})
    assert ours.calls == [LOOK_CALL, "GET /twirp/x"]
