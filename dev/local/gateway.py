"""API Gateway's part of the local run: which function a request is for, by the template's routes."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from dev.local.template import Template


@dataclass(frozen=True)
class Route:
    function: str
    """Its logical id."""
    method: str
    path: str
    """As the template has it: `/blobs/upload/{archive}`, `/manage/{path+}`."""
    is_signed: bool
    """IAM's authorizer stands before it."""

    @property
    def segments(self) -> Sequence[str]:
        return self.path.strip("/").split("/")

    def leads(self, segments: Sequence[str]) -> bool:
        own = self.segments
        if own[-1].endswith("+}"):
            own = own[:-1]
            if len(segments) <= len(own) or not all(segments[len(own) :][:1]):
                return False
            segments = segments[: len(own)]
        return len(own) == len(segments) and all(
            mine == asked or (mine.startswith("{") and asked) for mine, asked in zip(own, segments, strict=True)
        )

    @property
    def specificity(self) -> list[int]:
        """What API Gateway goes by: a name before a parameter, a parameter before all that follows."""
        return [2 if not it.startswith("{") else 0 if it.endswith("+}") else 1 for it in self.segments]


@dataclass(frozen=True)
class Gateway:
    """Leads to the apps as the template's routes say; what no route is gets API Gateway's own answer."""

    routes: Sequence[Route]
    apps: Mapping[str, ASGIApp]
    """By the logical ids of their functions."""
    unknown: Response

    @classmethod
    def of(cls, template: Template, apps: Mapping[str, ASGIApp]) -> "Gateway":
        return cls(tuple(_routes(template)), apps, _unknown(template))

    def function_for(self, method: str, path: str) -> str | None:
        """By the route with this method that fits best; None where there is none, or it wants a signature of IAM's.

        Whether API Gateway takes a less fitting one where the best lacks the method, no document says. Nothing here
        signs or checks: that is AWS's alone.
        """
        segments = path.strip("/").split("/")
        fitting = [route for route in self.routes if route.method == method and route.leads(segments)]
        best = max(fitting, key=lambda route: route.specificity, default=None)
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
    [api] = template.of_type("AWS::Serverless::Api")
    declared: Mapping[str, Any] = template.properties(api)["GatewayResponses"]["MISSING_AUTHENTICATION_TOKEN"]
    body = json.loads(declared["ResponseTemplates"]["application/json"])
    headers = {"x-ms-request-id": "local"}
    return Response(json.dumps(body), declared["StatusCode"], headers, "application/json")
