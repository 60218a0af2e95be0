"""Serves as the distribution of a stack in the emulator, which has CloudFront's API but no distribution behind it.

`python -m tests.aws.deploy.edge STACK PORT CERTIFICATE`, with the emulator's endpoint and credentials in the
environment.
"""

import contextlib
import os
import socket
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import boto3
import uvicorn
from botocore.exceptions import ClientError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from dev.local.server import edge_before
from dev.local.template import Template

NOT_FORWARDED = {"host", "connection", "transfer-encoding", "content-length"}


class DeployedApi:
    """Passes requests on to the emulator's URL of the API."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        raw = scope["raw_path"].decode("latin-1")
        query = f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else ""
        headers = {name: value for name, value in request.headers.items() if name not in NOT_FORWARDED}
        # API Gateway tells binary bodies by these, and MiniStack has no default for what a client leaves out.
        headers = {"accept": "*/*", "content-type": "application/octet-stream"} | headers
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.request(
                request.method,
                f"{self._url}{raw}{query}",
                data=await request.body() or None,
                headers=headers,
                allow_redirects=False,
            ) as answer,
        ):
            body = await answer.read()
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in NOT_FORWARDED}
            if request.method == "HEAD" and "Content-Length" in answer.headers:
                kept["Content-Length"] = answer.headers["Content-Length"]
            await Response(body, answer.status, kept)(scope, receive, send)


def deployed(stack: str) -> dict[str, str]:
    """Wait for the stack, and return its outputs."""
    formation = boto3.client("cloudformation")
    while True:
        with contextlib.suppress(ClientError):
            [row] = formation.describe_stacks(StackName=stack)["Stacks"]
            if row["StackStatus"] in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
                return {output["OutputKey"]: output["OutputValue"] for output in row["Outputs"]}
        time.sleep(0.2)


def main(stack: str, port: int, certificate: Path) -> None:
    # Requests before the stack is there wait.
    listener = socket.create_server(("127.0.0.1", port))
    outputs = deployed(stack)
    store = boto3.client("cloudformation").describe_stack_resource(StackName=stack, LogicalResourceId="EdgeSecrets")
    name = store["StackResourceDetail"]["PhysicalResourceId"]
    listed = boto3.client("cloudfront").list_key_value_stores()["KeyValueStoreList"]["Items"]
    [arn] = [item["ARN"] for item in listed if name in (item["Name"], item["Id"], item["ARN"])]
    os.environ["BUCKET"] = outputs["BucketName"]
    api = urlsplit(outputs["ApiUrl"])
    endpoint = os.environ["AWS_ENDPOINT_URL"]
    behind = DeployedApi(f"{endpoint}/restapis/{api.netloc.split('.')[0]}{api.path}/_user_request_")
    config = uvicorn.Config(edge_before(Template.load(), behind, arn), ssl_certfile=certificate, log_level="warning")
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
