"""What template.yaml says of the distribution: which request goes where, by which functions, with which headers."""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from posixpath import normpath
from typing import Any

from dev.local.template import Template

DISTRIBUTION = "Edge"


@dataclass(frozen=True)
class Behavior:
    """How requests to some paths are treated.

    Args:
        path_pattern: with `*` for anything.
        origin: where they go unless a function selects another one.
        methods: what is let in at all.
        events: at which of them a function runs: viewer-request, viewer-response.
        forwarded_headers: which the origin gets; None for all.
        added_headers: to answers that have none of the name.
    """

    path_pattern: str
    origin: str
    methods: frozenset[str]
    events: frozenset[str]
    forwarded_headers: frozenset[str] | None
    added_headers: Mapping[str, str]


@dataclass(frozen=True)
class Distribution:
    behaviors: tuple[Behavior, ...]
    """In the order in which they are tried; the last one takes everything."""

    @classmethod
    def of(cls, template: Template) -> "Distribution":
        config = template.properties(DISTRIBUTION)["DistributionConfig"]
        default = {"PathPattern": "*", **config["DefaultCacheBehavior"]}
        return cls(tuple(_behavior(template, it) for it in (*config["CacheBehaviors"], default)))

    def behavior(self, path: str) -> Behavior:
        """By the normalized path, though functions and origins get it as it was sent: as CloudFront has it."""
        normalized = normpath(path) if path.startswith("/") else path
        return next(it for it in self.behaviors if fnmatchcase(normalized, it.path_pattern))


def _behavior(template: Template, declared: Mapping[str, Any]) -> Behavior:
    return Behavior(
        path_pattern=declared["PathPattern"],
        origin=declared["TargetOriginId"],
        methods=frozenset(declared["AllowedMethods"]),
        events=frozenset(it["EventType"] for it in declared.get("FunctionAssociations", ())),
        forwarded_headers=_forwarded_headers(template, declared["OriginRequestPolicyId"]),
        added_headers=_added_headers(template, declared.get("ResponseHeadersPolicyId")),
    )


def _forwarded_headers(template: Template, policy: Mapping[str, Any]) -> frozenset[str] | None:
    match policy:
        case {"Ref": str(name)}:
            return frozenset(template.properties(name)["OriginRequestPolicyConfig"]["HeadersConfig"]["Headers"])
        case {"Fn::FindInMap": ["CloudFront", "ManagedPolicy", "AllViewerExceptHostHeader"]}:
            return None
    raise ValueError(f"an origin request policy that isn't known here: {policy}")


def _added_headers(template: Template, policy: Mapping[str, Any] | None) -> dict[str, str]:
    if policy is None:
        return {}
    config = template.properties(policy["Ref"])["ResponseHeadersPolicyConfig"]
    security = config["SecurityHeadersConfig"]
    return {
        **{it["Header"]: it["Value"] for it in config["CustomHeadersConfig"]["Items"]},
        "x-content-type-options": "nosniff",
        "content-security-policy": security["ContentSecurityPolicy"]["ContentSecurityPolicy"],
    }
