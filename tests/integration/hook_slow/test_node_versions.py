"""Every even major version of node, which jobs bring for years, since the hook is loaded into all of them."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.integration.hook.test_loader import watch
from tests.support.fake_cache_server import LOOK_UP, STATUS, Answer, FakeCacheServer

HERE = Path(__file__).parent
ASK = HERE.parent / "hook" / "ask.cjs"
FORMS = HERE.parent / "hook" / "forms.cjs"
MAJORS = range(10, 27, 2)
OLDEST = 20
"""The oldest major that the hook does more for than to point."""


@pytest.fixture(params=MAJORS)
def major(request: pytest.FixtureRequest) -> int:
    number: int = request.param
    return number


@pytest.fixture
def node(major: int) -> str:
    path = HERE / "node_modules" / f"node-{major}" / "bin" / "node"
    if not path.exists():
        pytest.skip(f"node {major} isn't installed: `make test-slow` fetches it on Linux x64, nowhere else")
    return str(path)


def run(node: str, script: Path, variables: dict[str, str]) -> str:
    ran = subprocess.run([node, str(script)], env=variables, capture_output=True, text=True, check=True, timeout=60)
    assert ran.stderr == ""
    return ran.stdout


def test_process_of_no_action_is_left_alone(node: str, hook: Path, variables: dict[str, str]) -> None:
    del variables["ACTIONS_RUNTIME_TOKEN"]
    seen = [watch(hook, variables, node) for _ in range(20)]
    assert all(is_same for is_same, _ in seen)
    # Twice as much as on a machine that does nothing else.
    assert min(took for _, took in seen) < 2
    variables["NODE_OPTIONS"] = f"--require {hook}"
    assert "://" in run(node, ASK.with_name("where.cjs"), variables)


def test_action_is_led_to_the_server(node: str, major: int, variables: dict[str, str], ours: FakeCacheServer) -> None:
    assert run(node, ASK, variables).startswith('200 {"ok": false')
    assert ours.calls == [f"GET {STATUS}", LOOK_UP][major < OLDEST :]


@pytest.mark.parametrize("settings", ["{", "null", '{"url": "http://cache.example.com/"}'])
def test_broken_settings_leave_the_runners_url(
    node: str, hook: Path, variables: dict[str, str], github: FakeCacheServer, settings: str
) -> None:
    hook.with_name("hook.json").write_text(settings)
    assert run(node, ASK.with_name("where.cjs"), variables) == f"{github.url}/\n"


def test_artifacts_go_to_github_in_each_form(
    node: str, major: int, variables: dict[str, str], ours: FakeCacheServer, github: FakeCacheServer
) -> None:
    if major < OLDEST:
        pytest.skip("an older node is only pointed at the server")
    ours.faults[f"GET {STATUS}"] = Answer(503)
    answers = json.loads(run(node, FORMS, variables))
    assert set(answers.values()) == {200}
    assert len(github.asked) == sum(not name.startswith("ours-") for name in answers)
