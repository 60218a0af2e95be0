"""A name becomes a number by gh, or by GitHub's API; what can't be had is told apart."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from actions_cache_cli.deploy.answers import GitHub, NoSuch, NotAsked
from actions_cache_cli.deploy.questions import Subject

OWNER, REPOSITORY = Subject("octo-org", None), Subject("octo-org", "widgets")
ANSWERS = {
    "/users/octo-org": (200, b'{"id": 9919, "type": "Organization"}'),
    "/repos/octo-org/widgets": (301, b""),
    "/repositories/42": (200, b'{"id": 42}'),
    "/users/limited": (403, b"{}"),
    "/users/busy": (429, b"{}"),
    "/users/broken": (502, b"<html>"),
    "/users/proxied": (200, b"<html>sign in</html>"),
    "/users/empty": (200, b"{}"),
    "/users/odd": (200, b'{"id": true}'),
}


@pytest.fixture(scope="module")
def api() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = ANSWERS.get(self.path, (404, b"{}"))
            self.send_response(status)
            if status == 301:
                self.send_header("Location", "/repositories/42")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def program(directory: Path, text: str) -> str:
    path = directory / "gh"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_the_public_api_is_asked_and_renames_are_followed(api: str) -> None:
    assert GitHub(api).id_of(OWNER) == "9919"
    assert GitHub(api).id_of(REPOSITORY) == "42"


def test_gh_goes_first_since_it_sees_what_is_private(api: str, tmp_path: Path) -> None:
    gh = program(tmp_path, f'[ "$1 $2" = "api repos/octo-org/secret" ] && echo \'{json.dumps({"id": 7})}\'')
    assert GitHub(api, gh).id_of(Subject("octo-org", "secret")) == "7"


@pytest.mark.parametrize("text", ["exit 4", "echo nonsense", "echo '[1]'"])
def test_a_gh_that_isnt_logged_in_is_passed_over(api: str, tmp_path: Path, text: str) -> None:
    assert GitHub(api, program(tmp_path, text)).id_of(OWNER) == "9919"


def test_a_gh_that_cant_start_is_passed_over(api: str, tmp_path: Path) -> None:
    assert GitHub(api, str(tmp_path / "gone")).id_of(OWNER) == "9919"


def test_a_name_that_nobody_has_is_told_and_that_it_may_be_private(api: str) -> None:
    with pytest.raises(NoSuch, match=r"no owner called nobody: a typing error$"):
        GitHub(api).id_of(Subject("nobody", None))
    with pytest.raises(NoSuch, match=r"no repository called octo-org/secret.*gh auth login"):
        GitHub(api).id_of(Subject("octo-org", "secret"))


@pytest.mark.parametrize(
    ("owner", "said"),
    [
        ("limited", "no more questions"),
        ("busy", "no more questions"),
        ("broken", "answers 502"),
        ("proxied", "isn't GitHub"),
        ("empty", "has no id"),
        ("odd", "has no id"),
    ],
)
def test_an_answer_without_an_id_isnt_taken_for_one(api: str, owner: str, said: str) -> None:
    with pytest.raises(NotAsked, match=said):
        GitHub(api).id_of(Subject(owner, None))


def test_without_a_network_it_says_so() -> None:
    with pytest.raises(NotAsked, match="can't be reached"):
        GitHub("http://127.0.0.1:9").id_of(OWNER)


def test_the_environment_names_another_github_and_gh(tmp_path: Path) -> None:
    gh = program(tmp_path, "exit 1")
    found = GitHub.from_environment({"PATH": str(tmp_path), "GITHUB_API_URL": "https://ghes.example/api/v3"})
    assert found == GitHub("https://ghes.example/api/v3", gh)
