"""What can't start says why in one line, and leaves nothing behind."""

import socket

import pytest

from local import engine
from local.console import RunFailed
from local.template import ROOT
from tests.local_run.conftest import StartRun
from tests.local_run.local_run import LocalRun


def refusal(run: LocalRun) -> str:
    """The one line that a run says before it ends."""
    assert run.process.wait(30) == 1
    assert run.processes() == []
    [line] = [line for line in run.lines if line.startswith("error: ")]
    assert "Traceback" not in run.output.read_text()
    return line


def test_a_busy_port_is_named(start_run: StartRun):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert f"port {port} of 127.0.0.1 can't be had" in refusal(start_run(PORT=str(port)))


def test_a_second_run_on_the_same_data_is_refused_at_once(run: LocalRun):
    second = LocalRun.start(run.data)
    assert second.process.wait(10) == 1
    [line] = second.lines[-1:]
    assert line.startswith(f"error: another run uses {run.data}")
    assert run.process.poll() is None


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "cache.example"])
def test_another_address_is_refused_while_signatures_are_not_verified(start_run: StartRun, host: str):
    assert f"HOST={host} is refused" in refusal(start_run(HOST=host))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"PORT": "70000"}, "PORT: Input should be less than or equal to 65535"),
        ({"LOCAL_MERGE_WORKERS": "-1"}, "LOCAL_MERGE_WORKERS: Input should be greater than or equal to 0"),
        ({"MERGE_TRIGGER": "never"}, "MERGE_TRIGGER: Input should be 'finalize' or 'first-download'"),
        ({"PARTS_GRACE_SECONDS": "5"}, "PARTS_GRACE_SECONDS is 5, but a reader may need its parts for 2130 s"),
        (
            {"TOKEN_CLAIMS": "any,repository_id=42"},
            "TOKEN_CLAIMS contradicts itself: it lets in anybody of https://token",
        ),
        ({"STORE_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ACCESS_KEY_ID": ""}, "AWS_ACCESS_KEY_ID"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_their_name(start_run: StartRun, settings: dict[str, str], words: str):
    assert words in refusal(start_run(**settings))


def test_a_missing_engine_says_what_installs_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(engine, "EXECUTABLES", ROOT / "nowhere")
    with pytest.raises(RunFailed, match="nowhere/weed is missing: `make run` installs the engines first"):
        engine.executable("weed")


def test_an_endpoint_that_does_not_answer_is_named(start_run: StartRun):
    credentials = {"AWS_ACCESS_KEY_ID": "theirs", "AWS_SECRET_ACCESS_KEY": "theirs"}
    run = start_run(STORE_ENDPOINT_URL="http://127.0.0.1:1", **credentials)
    assert "http://127.0.0.1:1" in refusal(run)
