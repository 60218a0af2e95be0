"""Authenticate callers by a management token, the page's session or an IAM signature.

Jobs' tokens are refused.
"""

from typing import Annotated, Any

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials
from starlette.types import ASGIApp, Receive, Scope, Send

from actions_cache.domain.access import Role
from actions_cache.domain.errors import PermissionDenied, Unauthenticated
from actions_cache.http.app import signer
from actions_cache.management_services import ManagementServices
from functions.manage.dependencies import Services
from functions.manage.session import check_same_origin, session_of

SCHEMES = frozenset({"bearer", "token"})
"""Accepted schemes of the Authorization header; gh and older Octokits send `token`."""

READING = frozenset({"GET", "HEAD"})
"""Methods that change nothing."""

DocumentedToken = Annotated[
    HTTPAuthorizationCredentials | None,
    Security(HTTPBearer(auto_error=False, description="The admin's token, or the read-only one.")),
]
"""Adds the token to the OpenAPI document. FastAPI's own check isn't used, since it doesn't know the scheme `token`."""


def reader(request: Request, services: Services, _: DocumentedToken) -> Role:
    """Return the role of a caller that wants to read.

    Raises:
        Unauthenticated: the caller is unknown.
    """
    return role_of(request, services)


def admin(request: Request, services: Services, _: DocumentedToken) -> str:
    """Return the name, for the log, of a caller that wants to delete.

    Raises:
        Unauthenticated: the caller is unknown.
        PermissionDenied: the caller may only read.
    """
    role = role_of(request, services)
    if not role.may_write:
        raise PermissionDenied("the read-only token may look, and not delete: that takes the admin's")
    return signer(request) or f"{role}'s token"


Reader = Annotated[Role, Depends(reader)]
Admin = Annotated[str, Depends(admin)]


def role_of(request: Request, services: ManagementServices) -> Role:
    """Return the caller's role.

    Raises:
        Unauthenticated: there is no valid token, session or signature.
        PermissionDenied: a session's request to delete comes from another site's page.
    """
    if signer(request):
        # IAM has allowed the signer this method.
        return Role.READ_ONLY if request.method in READING else Role.ADMIN
    if "authorization" not in request.headers and (session := session_of(request, services)):
        if request.method not in READING:
            check_same_origin(request, services.core.settings.public_url)
        return session.role
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() not in SCHEMES or not token.strip():
        raise Unauthenticated("no token: send `Authorization: Bearer` with the admin's token or the read-only one")
    role = services.secret.tokens().role_of(token.strip())
    if role is None:
        raise Unauthenticated("this token is neither the admin's nor the read-only one (jobs' tokens aren't for here)")
    return role


PREFIX = "/iam"

RESOURCE = "/iam/{path+}"
"""API Gateway's resource with IAM's authorizer (template.yaml). An identity in another resource's event proves nothing,
since nobody has checked it."""


class IamPaths:
    """Strips the prefix from the paths of signed requests, and puts the signer's ARN into the request's state.

    An unsigned request keeps its path, for which there is no route. Events of the signed resource come from API Gateway
    alone.
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
    """Return the ARN of the caller whose signature API Gateway has checked, or None."""
    if event is None or event.get("resource") != RESOURCE:
        return None
    signer = event["requestContext"]["identity"].get("userArn")
    return str(signer) if signer else None
