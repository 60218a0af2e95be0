"""The loader leaves alone what isn't an action's process, and nothing in its files can break one."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.fake_cache_server import FakeCacheServer
from tests.support.hooked_job import RUNNERS, action_variables, install_hook, run_action

WATCH = Path(__file__).with_name("watch.cjs")


def watch(hook: Path, variables: dict[str, str], node: str = "node") -> tuple[bool, float]:
    env = {**variables, "HOOK": str(hook), "NODE_OPTIONS": ""}
    ran = subprocess.run([node, str(WATCH)], env=env, capture_output=True, text=True, check=True, timeout=60)
    assert ran.stderr == ""
    is_same, took = json.loads(ran.stdout)
    return is_same, took


@pytest.mark.parametrize("lacks", ["ACTIONS_RUNTIME_TOKEN", "ACTIONS_RESULTS_URL"])
def test_process_of_no_action_is_left_alone(
    hook: Path, variables: dict[str, str], ours: FakeCacheServer, lacks: str
) -> None:
    del variables[lacks]
    seen = [watch(hook, variables) for _ in range(12)]
    assert all(is_same for is_same, _ in seen)
    # The shortest, since the others have waited for the processor: this is for work that the hook shouldn't do.
    assert min(took for _, took in seen) < 1
    assert ours.asked == []


def test_watched_process_of_an_action_is_changed(hook: Path, variables: dict[str, str]) -> None:
    is_same, _ = watch(hook, variables)
    assert not is_same


def led_to(variables: dict[str, str]) -> str:
    return run_action("process.stdout.write(process.env.ACTIONS_RESULTS_URL)", variables)


def make_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


BROKEN: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "empty": lambda path: path.write_text(""),
    "other export": lambda path: path.write_text("exports.begin = 1"),
    "syntax error": lambda path: path.write_text("exports.start = ("),
    "throws": lambda path: path.write_text("exports.start = () => { throw undefined }"),
    "directory": make_directory,
}


@pytest.mark.parametrize("damage", BROKEN.values(), ids=BROKEN)
def test_broken_second_file_leaves_the_url(
    hook: Path, variables: dict[str, str], ours: FakeCacheServer, damage: Callable[[Path], object]
) -> None:
    damage(hook.with_name("hook-requests.cjs"))
    assert led_to(variables) == f"{ours.url}/"


@pytest.mark.parametrize("mode", ["point", "", "Fast", None, 1, ["fast"], {}, "__proto__"])
def test_other_modes_only_point(hook: Path, variables: dict[str, str], ours: FakeCacheServer, mode: object) -> None:
    install_hook(hook.parent, f"{ours.url}/", mode=mode)  # type: ignore[arg-type]
    assert led_to(variables) == f"{ours.url}/"
    assert ours.asked == []


@pytest.mark.parametrize("connections", [0, -1, 1e9, "8", "many", None, [], {"a": 1}, True])
@pytest.mark.parametrize("mode", ["protect", "fast"])
def test_odd_settings_break_nothing(
    hook: Path, variables: dict[str, str], ours: FakeCacheServer, mode: str, connections: object
) -> None:
    install_hook(hook.parent, f"{ours.url}/", mode=mode, connections=connections, when_down=connections)
    assert led_to(variables) == f"{ours.url}/"


def test_settings_cant_pollute_prototypes(hook: Path, variables: dict[str, str], ours: FakeCacheServer) -> None:
    settings = (
        f'{{"__proto__": {{"url": "x", "x": 1}}, "constructor": {{"prototype": {{"x": 1}}}}, "url": "{ours.url}/"}}'
    )
    hook.with_name("hook.json").write_text(settings)
    assert run_action("console.log({}.x, process.env.ACTIONS_RESULTS_URL)", variables) == f"undefined {ours.url}/\n"


def test_program_that_isnt_node_is_not_started_again(
    hook: Path, variables: dict[str, str], tmp_path: Path, ours: FakeCacheServer
) -> None:
    """A program with node in it would run as that program, instead of looking at the server."""
    program = tmp_path / "program"
    program.symlink_to(run_action("process.stdout.write(process.execPath)", {"PATH": variables["PATH"]}))
    copy = Path(subprocess.run(["cp", "-L", program, tmp_path / "app"], check=True).args[-1])
    assert run_action("process.stdout.write(process.env.ACTIONS_RESULTS_URL)", variables, copy) == f"{ours.url}/"
    assert ours.asked == []


def test_hook_is_silent_where_it_cant_ask(hook: Path, tmp_path: Path) -> None:
    install_hook(hook.parent, "https://nothing.invalid/")
    variables = action_variables(hook, tmp_path / "missing")
    assert led_to(variables) == "https://nothing.invalid/"
    assert RUNNERS not in led_to(variables)
