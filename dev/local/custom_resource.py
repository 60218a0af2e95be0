"""CloudFormation's part in a custom resource: has its function create it. `python -m dev.local.custom_resource`.

Ends with 0 when the function answered that it succeeded, else with its reason and 1.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any
from uuid import uuid4

import boto3

from dev.local.execution import Execution, Stop
from dev.local.template import Template

ANSWER_SECONDS = 10
"""For the answer, once the function has ended."""


@dataclass
class ResponseUrl:
    """Where a function answers, as it does to a presigned URL of S3's."""

    answers: "SimpleQueue[dict[str, Any]]" = field(default_factory=SimpleQueue)

    @contextmanager
    def served(self) -> Iterator[str]:
        answers = self.answers

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                answers.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
                """Says nothing."""

        with HTTPServer(("127.0.0.1", 0), Handler) as server:
            Thread(target=server.serve_forever, daemon=True).start()
            yield f"http://127.0.0.1:{server.server_port}/"
            server.shutdown()


def create_event(resource: str, resource_type: str, function_arn: str, response_url: str) -> dict[str, Any]:
    """https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref-requesttypes-create.html."""
    return {
        "RequestType": "Create",
        "ServiceToken": function_arn,
        "ResponseURL": response_url,
        "StackId": "arn:aws:cloudformation:us-east-1:000000000000:stack/local/local",
        "RequestId": str(uuid4()),
        "LogicalResourceId": resource,
        "ResourceType": resource_type,
        "ResourceProperties": {"ServiceToken": function_arn},
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="dev.local.custom_resource")
    parser.add_argument("--lifeline", type=int, required=True)
    parser.add_argument("--resource", required=True, help="logical id")
    parser.add_argument("--function", required=True, help="logical id")
    options = parser.parse_args()

    template = Template.load()
    execution = Execution(template, options.function, boto3.Session().region_name, Stop(options.lifeline))
    url = ResponseUrl()
    resource_type = template.body["Resources"][options.resource]["Type"]
    with url.served() as address:
        execution(create_event(options.resource, resource_type, options.function, address))
        try:
            answer = url.answers.get(timeout=ANSWER_SECONDS)
        except Empty:
            answer = {"Status": "FAILED", "Reason": f"{options.function} gave no answer"}
    if answer["Status"] != "SUCCESS":
        print(answer["Reason"], file=sys.stderr)
    return int(answer["Status"] != "SUCCESS")


if __name__ == "__main__":
    sys.exit(main())
