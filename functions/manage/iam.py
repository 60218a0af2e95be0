"""Those who come by IAM: API Gateway has checked their signature, and a policy lets them call this method."""

from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

PREFIX = "/iam"

RESOURCE = "/iam/{path+}"
"""The one with IAM's authorizer (template.yaml). Of any other, the identity in an event proves nothing."""


class IamPaths:
    """Leads what was signed to the routes without the prefix, with the signer's ARN in the request's state.

    What wasn't has no such path: API Gateway alone makes these events.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        signer = signer_of(scope.get("aws.event"))
        if scope["type"] == "http" and signer and scope["path"].startswith(f"{PREFIX}/"):
            state = {**scope.get("state", {}), "signer": signer}
            scope = {**scope, "path": scope["path"].removeprefix(PREFIX), "raw_path": None, "state": state}
        await self.app(scope, receive, send)


def signer_of(event: dict[str, Any] | None) -> str | None:
    if event is None or event.get("resource") != RESOURCE:
        return None
    signer = event["requestContext"]["identity"].get("userArn")
    return str(signer) if signer else None
