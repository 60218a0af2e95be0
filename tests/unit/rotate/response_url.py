"""The presigned URL that a custom resource's function answers at, and what CloudFormation sees there."""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SIGNED = "?X-Amz-Credential=ours&X-Amz-Signature=known-to-nobody-else"


@dataclass
class ResponseUrl:
    url: str = ""
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    """Method, headers with their names in lower case, and body."""

    @property
    def answers(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, _, body in self.requests]

    @property
    def answer(self) -> dict[str, Any]:
        """The only one."""
        [one] = self.answers
        return one


@contextmanager
def response_url(statuses: Sequence[int] = ()) -> Iterator[ResponseUrl]:
    """Args: statuses: of the first requests; later ones succeed."""
    seen = ResponseUrl()

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            seen.requests.append((self.command, {name.lower(): it for name, it in self.headers.items()}, body))
            number = len(seen.requests)
            self.send_response(statuses[number - 1] if number <= len(statuses) else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Says nothing: pytest's output is for the tests."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        seen.url = f"http://127.0.0.1:{server.server_port}/stack{SIGNED}"
        yield seen
        server.shutdown()
