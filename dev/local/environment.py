"""The functions' environment variables: the template's, the user's, and where the engines are."""

from collections.abc import Iterable, Mapping

from dev.local.resources import Resources

FITTED_TO_LAMBDA = frozenset(
    {"STREAM_MAX_BYTES", "STREAM_BURST_BYTES", "STREAM_BYTES_PER_SECOND", "CHECK_STREAMED_PARTS"}
)
"""The template's values go with AWS's caps, which nothing has here (docs/delivery.md): what checks cost
nothing at 2 MB a second would halve the speed of a stream that isn't held back."""

AGAINST_STRANGERS = frozenset({"CREATES_PER_MINUTE"})
"""The template's value bounds what jobs of many repositories cost; here it would only stop somebody's load test."""

OF_OTHER_ACCOUNTS = frozenset({"AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"})
"""Would lead the functions away from the engines, or make these refuse them."""


def function_environment(
    resources: Resources, functions: Iterable[str], chosen: Mapping[str, str], endpoints: Mapping[str, str]
) -> dict[str, str]:
    """What functions that share a process find in their environment.

    Args:
        resources: named in the variables.
        functions: logical ids.
        chosen: the user's variables. They go before the template's, but for the resources' names, which a shell
            still has that sourced an earlier run's `.local/env`.
        endpoints: of the engines, with credentials.
    """
    declared: dict[str, str] = {}
    for function in functions:
        declared |= resources.environment(function)
    defaults = {name: value for name, value in declared.items() if name not in FITTED_TO_LAMBDA | AGAINST_STRANGERS}
    users = {name: value for name, value in chosen.items() if name not in OF_OTHER_ACCOUNTS}
    if not users.get("TOKEN_CLAIMS"):
        # Empty means unset here too, and would admit nobody.
        users.pop("TOKEN_CLAIMS", None)
    return {
        "VERIFY_TOKENS": "0",
        **defaults,
        "POWERTOOLS_SERVICE_NAME": "local",
        **users,
        **resource_names(resources, declared),
        **endpoints,
    }


def resource_names(resources: Resources, variables: Mapping[str, str]) -> dict[str, str]:
    """Those of the variables that name a resource."""
    names = set(resources.refs.values())
    return {name: value for name, value in variables.items() if value in names}
