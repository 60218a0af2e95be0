"""The HTTP functions under uvicorn, on one port, as API Gateway has them under one host. `python -m local.server`."""

import argparse
import socket

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from functions.api import handler as api
from functions.download import handler as download
from local.execution import PATIENCE_SECONDS
from local.lifeline import stop_at_end_of

DOWNLOADS = "/blobs/download/"

DRAIN_SECONDS = 5
"""What requests may take to end once the run stops; then their connections break."""

KEEP_ALIVE_SECONDS = 75
"""uvicorn's 5 s would close connections under clients that pause between two blocks."""


def by_path(api_app: ASGIApp, download_app: ASGIApp) -> ASGIApp:
    async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
        app = download_app if scope["path"].startswith(DOWNLOADS) else api_app
        await app(scope, receive, send)

    return dispatch


def main() -> None:
    parser = argparse.ArgumentParser(prog="local.server")
    parser.add_argument("--lifeline", type=int, required=True)
    parser.add_argument("--listener", type=int, required=True, help="file descriptor of a bound socket")
    options = parser.parse_args()

    stop_at_end_of(options.lifeline, PATIENCE_SECONDS)
    config = uvicorn.Config(
        by_path(api.asgi_app(), download.asgi_app()),
        loop="uvloop",
        http="httptools",
        lifespan="off",
        # URLs carry signatures.
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=options.listener)])


if __name__ == "__main__":
    main()
