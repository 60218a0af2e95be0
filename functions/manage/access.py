"""Who asks: by a token from the management secret, by the page's session, or signed by IAM.

Jobs' tokens mean nothing here.
"""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Request, Security
from fastapi.security import HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials

from actions_cache.domain.errors import PermissionDenied, Unauthenticated
from actions_cache.domain.role import Role
from actions_cache.web.app import signer
from actions_cache.wiring.management import ManagementPlane
from functions.manage.session import check_same_origin, session_of

SCHEMES = frozenset({"bearer", "token"})
"""`token` is what gh and older Octokits say."""

READING = frozenset({"GET", "HEAD"})

_DOCUMENTED = HTTPBearer(auto_error=False, description="The admin's token, or the read-only one.")
"""For the OpenAPI document: it takes no `token`."""


@dataclass(frozen=True, slots=True)
class Doorkeeper:
    management: ManagementPlane

    def role_of(self, request: Request) -> Role:
        """Raises: Unauthenticated."""
        if signer(request):
            # IAM has said that this one may call this method.
            return Role.READ_ONLY if request.method in READING else Role.ADMIN
        if "authorization" not in request.headers and (session := session_of(request, self.management)):
            if request.method not in READING:
                check_same_origin(request, self.management.control.settings.public_url)
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
