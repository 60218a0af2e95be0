"""Who asks: by a token from the management secret, by the page's session, or signed by IAM.

Jobs' tokens mean nothing here.
"""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Request, Security
from fastapi.security import HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials
from starlette.types import ASGIApp, Receive, Scope, Send

from actions_cache.domain.access import Role
from actions_cache.domain.errors import PermissionDenied, Unauthenticated
from actions_cache.http.app import signer
from actions_cache.management_services import ManagementServices
from functions.manage.session import check_same_origin, session_of

SCHEMES = frozenset({"bearer", "token"})
"""`token` is what gh and older Octokits say."""

READING = frozenset({"GET", "HEAD"})

_DOCUMENTED = HTTPBearer(auto_error=False, description="The admin's token, or the read-only one.")
"""For the OpenAPI document: it takes no `token`."""


@dataclass(frozen=True, slots=True)
class Authenticator:
    management: ManagementServices

    def role_of(self, request: Request) -> Role:
        """Raises: Unauthenticated."""
        if signer(request):
            # IAM has said that this one may call this method.
            return Role.READ_ONLY if request.method in READING else Role.ADMIN
        if "authorization" not in request.headers and (session := session_of(request, self.management)):
            if request.method not in READING:
                check_same_origin(request, self.management.core.settings.public_url)
            return session.role
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() not in SCHEMES or not token.strip():
            raise Unauthenticated("no token: send `Authorization: Bearer` with the admin's token or the read-only one")
        role = self.management.secret.tokens().role_of(token.strip())
        if role is None:
            raise Unauthenticated(
                "this token is neither the admin's nor the read-only one (jobs' tokens aren't for here)"
            )
        return role

    def reader(
        self, request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Security(_DOCUMENTED)]
    ) -> Role:
        """A dependency of routes that only look."""
        return self.role_of(request)

    def admin(self, request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Security(_DOCUMENTED)]) -> Role:
        """A dependency of routes that change something. Raises PermissionDenied."""
        role = self.role_of(request)
        if not role.may_write:
            raise PermissionDenied("the read-only token may look, and not delete: that takes the admin's")
        return role


def name_of(request: Request, role: Role) -> str:
    """Who it was, for the log."""
    return signer(request) or f"{role}'s token"


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
