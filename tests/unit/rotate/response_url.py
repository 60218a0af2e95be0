"""Serve the presigned URL that a custom resource's function responds to, and record what arrives there."""

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
    """Holds the URL, and the requests that came to it."""

    url: str = ""
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    """Method, headers with names in lower case, and body of each."""

    @property
    def answers(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, _, body in self.requests]

    @property
    def answer(self) -> dict[str, Any]:
        """Return the only answer."""
        [answer] = self.answers
        return answer


@contextmanager
def response_url(statuses: Sequence[int] = ()) -> Iterator[ResponseUrl]:
    """Serve the URL.

    Args:
        statuses: statuses of the first responses; later requests succeed.
    """
    received = ResponseUrl()

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            received.requests.append((self.command, headers, body))
            number = len(received.requests)
            self.send_response(statuses[number - 1] if number <= len(statuses) else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Log nothing, since pytest's output is for the tests."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        received.url = f"http://127.0.0.1:{server.server_port}/stack{SIGNED}"
        yield received
        server.shutdown()
