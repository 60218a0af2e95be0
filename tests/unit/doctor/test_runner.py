from pathlib import Path

import pytest

from actions_cache_cli.doctor.runner import Worker, find_runner, node_programs, read_env, read_worker

OURS = "\0\x27ACTIONS_RESULTS_URL\0"
CUSTOM = "\0\x35CUSTOM_ACTIONS_RESULTS_URL\0"


@pytest.mark.parametrize(
    ("texts", "worker"),
    [
        (OURS, Worker(overwrites=True, honours_custom=False)),
        (OURS + CUSTOM, Worker(overwrites=True, honours_custom=True)),
        (CUSTOM, Worker(overwrites=False, honours_custom=True)),
        (OURS.replace("URL", "ORL"), Worker(overwrites=False, honours_custom=False)),
    ],
)
def test_runner_program_is_read_by_its_utf16_texts(texts: str, worker: Worker) -> None:
    assert read_worker(b"MZ\0" + texts.encode("utf-16-le") + b"ACTIONS_RESULTS_URL") == worker


def test_env_file_has_no_quotes_or_comments() -> None:
    assert read_env('A=1\n\nB="x=y"\n=no\nnone\nNODE_OPTIONS=--require /a b.cjs\n') == {
        "A": "1",
        "B": '"x=y"',
        "NODE_OPTIONS": "--require /a b.cjs",
    }


def test_job_finds_its_runner_by_runner_temp(tmp_path: Path) -> None:
    empty = find_runner({}, str(tmp_path))
    assert (empty.worker, empty.env) == (None, {})
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "Runner.Worker.dll").write_bytes(OURS.encode("utf-16-le"))
    (tmp_path / ".env").write_text("A=1\n")
    for name in ("node20", "node24", "node9"):
        (tmp_path / "externals" / name / "bin").mkdir(parents=True)
        (tmp_path / "externals" / name / "bin" / "node").touch()
    runner = find_runner({"RUNNER_TEMP": str(tmp_path / "_work" / "_temp")}, None)
    assert runner.worker == Worker(overwrites=True, honours_custom=False)
    assert runner.env == {"A": "1"}
    assert [path.parent.parent.name for path in node_programs(runner)][:3] == ["node24", "node20", "node9"]
