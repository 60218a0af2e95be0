"""The HTTP functions behind API Gateway's routes and the edge, on one port. `python -m dev.local.server`."""

import argparse
import gc
import json
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import uvicorn
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from actions_cache.aws.clients import QUICK_CALLS, s3_client
from actions_cache.aws.s3_stream import S3Signer
from actions_cache.aws.secrets import SIGV4A_CALLS
from actions_cache.logs import logger
from dev.local.console import NOTHING_SAVED
from dev.local.edge.app import BucketOrigin, Distribution, Edge
from dev.local.edge.runtime import EdgeKeyValueStore, EdgeRuntime
from dev.local.front import Front, Hosts, WritableStore
from dev.local.localhost import resolve_names_under_localhost
from dev.local.process import LOOPBACK
from dev.local.template import Template
from functions.api import handler as api
from functions.download import handler as download
from functions.manage import handler as manage

DRAIN_SECONDS = 5
"""Seconds in which requests may end once the run stops; then their connections break."""

KEEP_ALIVE_SECONDS = 75
"""Seconds that an idle connection stays open. uvicorn's 5 would break clients that pause between two blocks."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="dev.local.server")
    parser.add_argument("--listener", type=int, required=True, help="file descriptor of a bound socket")
    parser.add_argument("--edge-secrets", required=True, help="ARN of the edge's KeyValueStore")
    parser.add_argument("--host", default=LOOPBACK, help="the address that the socket is bound to")
    parser.add_argument("--ready-file", type=Path, help="file that exists while the run can be used")
    parser.add_argument("--store-directory", type=Path, help="directory of the S3 emulator on this machine")
    options = parser.parse_args()

    template = Template.load()
    edge = edge_before(template, Gateway.of(template, apps()), options.edge_secrets)
    store = WritableStore(boto3.client("s3", config=QUICK_CALLS), os.environ["BUCKET"], options.store_directory)
    hosts = Hosts(options.host, os.environ.get("PUBLIC_URL"))
    front = Front(edge, hosts, options.ready_file, store.fault, _report)
    # The apps' objects stay: a full collection that went through them would hold up every stream for long.
    gc.freeze()
    config = uvicorn.Config(
        front,
        loop="uvloop",
        http="httptools",
        # API Gateway's REST API has no WebSockets: a request for one gets a plain answer.
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


def _report(reason: str) -> None:
    """Log that nothing can be saved; the supervisor shows it on the terminal."""
    logger.error(NOTHING_SAVED, reason=reason)


def apps() -> dict[str, ASGIApp]:
    """Return the apps of the HTTP functions by logical id."""
    handlers = {"ApiFunction": api, "DownloadFunction": download, "ManageFunction": manage}
    return {function: handler.asgi_app() for function, handler in handlers.items()}


def edge_before(template: Template, behind: ASGIApp, secrets_arn: str) -> Edge:
    """Return the distribution that the template declares.

    Args:
        template: The project's template.
        behind: App that API Gateway serves.
        secrets_arn: ARN of the edge's KeyValueStore.
    """
    resolve_names_under_localhost()
    session = boto3.Session()
    credentials = session.get_credentials()
    if credentials is None:
        raise RuntimeError("no AWS credentials: the supervisor sets the emulators'")
    return Edge(
        Distribution.of(template),
        EdgeRuntime(),
        EdgeKeyValueStore(session.client("cloudfront-keyvaluestore", config=SIGV4A_CALLS), secrets_arn),
        BucketOrigin(S3Signer(s3_client(session, QUICK_CALLS), os.environ["BUCKET"], credentials)),
        behind,
    )


# ------------------------------------------------------------------ API Gateway


@dataclass(frozen=True)
class Route:
    """A route of the API.

    Args:
        function: Logical id of its function.
        method: HTTP method.
        path: Path as the template has it: `/blobs/upload/{archive}`, `/manage/{path+}`.
        is_signed: Whether IAM's authorizer stands before it.
    """

    function: str
    method: str
    path: str
    is_signed: bool

    @property
    def segments(self) -> Sequence[str]:
        return self.path.strip("/").split("/")

    def matches(self, segments: Sequence[str]) -> bool:
        own = self.segments
        if own[-1].endswith("+}"):
            own = own[:-1]
            if len(segments) <= len(own) or not all(segments[len(own) :][:1]):
                return False
            segments = segments[: len(own)]
        return len(own) == len(segments) and all(
            declared == requested or (declared.startswith("{") and requested)
            for declared, requested in zip(own, segments, strict=True)
        )

    @property
    def specificity(self) -> list[int]:
        """The rank by which API Gateway picks a route: a name goes before a parameter, that before a `+` parameter."""
        return [2 if not part.startswith("{") else 0 if part.endswith("+}") else 1 for part in self.segments]


@dataclass(frozen=True)
class Gateway:
    """Passes requests to the apps by the template's routes; without a route they get API Gateway's own answer.

    Args:
        routes: Routes of the API.
        apps: Apps by the logical ids of their functions.
        unknown: Answer where there is no route.
    """

    routes: Sequence[Route]
    apps: Mapping[str, ASGIApp]
    unknown: Response

    @classmethod
    def of(cls, template: Template, apps: Mapping[str, ASGIApp]) -> "Gateway":
        return cls(tuple(_routes(template)), apps, _unknown(template))

    def function_for(self, method: str, path: str) -> str | None:
        """Return the function of the best route with this method; None if there is none, or IAM must have signed.

        Whether API Gateway takes a less specific route where the best lacks the method, no document says. Signatures
        of IAM's exist on AWS alone: nothing here signs or checks.
        """
        segments = path.strip("/").split("/")
        matching = [route for route in self.routes if route.method == method and route.matches(segments)]
        best = max(matching, key=lambda route: route.specificity, default=None)
        return best.function if best and not best.is_signed else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        function = self.function_for(scope["method"], scope["path"])
        app = self.apps[function] if function is not None else self.unknown
        await app(scope, receive, send)


def _routes(template: Template) -> Iterator[Route]:
    for function, properties in template.functions.items():
        for event in properties["Events"].values():
            if event["Type"] == "Api":
                declared = event["Properties"]
                is_signed = declared.get("Auth", {}).get("Authorizer") == "AWS_IAM"
                yield Route(function, declared["Method"], declared["Path"], is_signed)


def _unknown(template: Template) -> Response:
    [api_id] = template.of_type("AWS::Serverless::Api")
    declared: Mapping[str, Any] = template.properties(api_id)["GatewayResponses"]["MISSING_AUTHENTICATION_TOKEN"]
    body = json.loads(declared["ResponseTemplates"]["application/json"])
    headers = {"x-ms-request-id": "local"}
    return Response(json.dumps(body), declared["StatusCode"], headers, "application/json")


if __name__ == "__main__":
    main()
