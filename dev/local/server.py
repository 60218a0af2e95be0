"""The edge, and behind it the HTTP functions, under uvicorn on one port. `python -m dev.local.server`."""

import argparse
import gc
import os
import socket
from pathlib import Path

import boto3
import uvicorn
from starlette.types import ASGIApp

from actions_cache.aws.clients import QUICK_CALLS, s3_client
from actions_cache.aws.s3_stream import S3Signer
from actions_cache.aws.secrets import SIGV4A_CALLS
from dev.local.console import STDERR
from dev.local.edge.app import Edge
from dev.local.edge.distribution import Distribution
from dev.local.edge.key_value_store import EdgeKeyValueStore
from dev.local.edge.origin_bucket import BucketOrigin
from dev.local.edge.runtime import EdgeRuntime
from dev.local.execution import PATIENCE_SECONDS
from dev.local.front import Front
from dev.local.gateway import Gateway
from dev.local.hosts import Hosts
from dev.local.lifeline import stop_at_end_of
from dev.local.localhost import resolve_names_under_localhost
from dev.local.ports import LOOPBACK
from dev.local.store import WritableStore
from dev.local.template import Template
from functions.api import handler as api
from functions.download import handler as download
from functions.manage import handler as manage

DRAIN_SECONDS = 5
"""What requests may take to end once the run stops; then their connections break."""

KEEP_ALIVE_SECONDS = 75
"""uvicorn's 5 s would close connections under clients that pause between two blocks."""


def edge_before(template: Template, behind: ASGIApp, secrets_arn: str) -> Edge:
    """The distribution that the template declares.

    Args:
        template: ours.
        behind: what API Gateway serves.
        secrets_arn: of the edge's KeyValueStore.
    """
    resolve_names_under_localhost()
    session = boto3.Session()
    credentials = session.get_credentials()
    if credentials is None:
        raise RuntimeError("no AWS credentials: the supervisor sets the engines'")
    return Edge(
        Distribution.of(template),
        EdgeRuntime(),
        EdgeKeyValueStore(session.client("cloudfront-keyvaluestore", config=SIGV4A_CALLS), secrets_arn),
        BucketOrigin(S3Signer(s3_client(session, QUICK_CALLS), os.environ["BUCKET"], credentials)),
        behind,
    )


def apps() -> dict[str, ASGIApp]:
    """Of the functions that HTTP reaches."""
    handlers = {"ApiFunction": api, "DownloadFunction": download, "ManageFunction": manage}
    return {function: handler.asgi_app() for function, handler in handlers.items()}


def main() -> None:
    parser = argparse.ArgumentParser(prog="dev.local.server")
    parser.add_argument("--lifeline", type=int, required=True)
    parser.add_argument("--listener", type=int, required=True, help="file descriptor of a bound socket")
    parser.add_argument("--edge-secrets", required=True, help="ARN of the edge's KeyValueStore")
    parser.add_argument("--host", default=LOOPBACK, help="the address that the socket is bound to")
    parser.add_argument("--ready-file", type=Path, help="there as long as the run can be used")
    parser.add_argument("--terminal", type=int, default=STDERR, help="file descriptor of what the user sees")
    parser.add_argument("--store-directory", type=Path, help="of an engine that keeps objects on this machine")
    options = parser.parse_args()

    stop_at_end_of(options.lifeline, PATIENCE_SECONDS)
    template = Template.load()
    edge = edge_before(template, Gateway.of(template, apps()), options.edge_secrets)
    store = WritableStore(boto3.client("s3", config=QUICK_CALLS), os.environ["BUCKET"], options.store_directory)
    hosts = Hosts(options.host, os.environ.get("PUBLIC_URL"))
    front = Front(edge, hosts, options.ready_file, store, options.terminal)
    # What three apps are made of stays: gone through by a full collection, it would hold up every stream for long.
    gc.freeze()
    config = uvicorn.Config(
        front,
        loop="uvloop",
        http="httptools",
        # No function behind API Gateway's REST API has any: whoever asks for one gets a plain answer.
        ws="none",
        lifespan="on",
        # URLs carry signatures.
        access_log=False,
        # As actions_cache.logs has set it up: JSON, as on Lambda.
        log_config=None,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=options.listener)])


if __name__ == "__main__":
    main()
