"""Serves an ASGI app by uvicorn, in a thread of this process."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import uvicorn
from starlette.types import ASGIApp

_SERVED: list[ASGIApp] = []
"""Keeps served apps alive: the connections that they hold belong to an ended loop, and can't be closed any more."""


@contextmanager
def served(app: ASGIApp, lifespan: Literal["on", "off"] = "off") -> Iterator[str]:
    """Serve the app on a free port until the block ends, and yield the base URL."""
    _SERVED.append(app)
    server = uvicorn.Server(uvicorn.Config(app, port=0, access_log=False, log_level="error", lifespan=lifespan))
    thread = threading.Thread(target=asyncio.run, args=(server.serve(),), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        server.force_exit = lifespan == "off"
        thread.join()
