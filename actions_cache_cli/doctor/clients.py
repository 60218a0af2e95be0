"""How cache clients read a job's variables. Each rule names the source it was read in."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from actions_cache_cli.doctor.address import Address, NotAUrl, read_address
from actions_cache_cli.doctor.finding import Finding, ok, trouble, unknown

GO_TRUE = ("1", "t", "T", "true", "TRUE", "True")
"""What Go's strconv.ParseBool takes for true, by which buildx and BuildKit read ACTIONS_CACHE_SERVICE_V2."""

MODES = {
    "read": "entries are restored and none is saved",
    "write": "entries are restored and saved",
    "write-only": "entries are saved and none is restored",
}


def is_ghes(variables: Mapping[str, str]) -> bool:
    """@actions/cache, internal/config.js: there the v1 API is used, whatever else is set."""
    host = (urlsplit(variables.get("GITHUB_SERVER_URL") or "https://github.com").hostname or "").upper()
    return host != "GITHUB.COM" and not host.endswith((".GHE.COM", ".LOCALHOST"))


def uses_v1(variables: Mapping[str, str]) -> bool:
    """@actions/cache does; for it any text in ACTIONS_CACHE_SERVICE_V2 is yes (its internal/config.js)."""
    return is_ghes(variables) or not variables.get("ACTIONS_CACHE_SERVICE_V2")


def judge_version(variables: Mapping[str, str], server: Address | None) -> Finding:
    """Which of the two cache APIs the job's clients use, and whether it leads to the server.

    Args:
        variables: of an action, not of a `run:` step.
        server: the expected one.
    """
    title = "v1 or v2"
    said = variables.get("ACTIONS_CACHE_SERVICE_V2", "")
    if is_ghes(variables):
        why = f"v1, since GITHUB_SERVER_URL is {variables['GITHUB_SERVER_URL']} (GHES)"
    elif said in GO_TRUE:
        return ok(title, f"v2 (ACTIONS_CACHE_SERVICE_V2 is {said})")
    elif said:
        return trouble(
            title,
            f"ACTIONS_CACHE_SERVICE_V2 is {said!r}: @actions/cache takes any text for yes and uses v2, buildx takes it "
            "for no and uses v1; set it to true",
        )
    else:
        why = "v1, since ACTIONS_CACHE_SERVICE_V2 isn't set, as github.com's runners set it for each action"
    url = variables.get("ACTIONS_CACHE_URL", "")
    if not url:
        return trouble(
            title,
            f"{why}; but ACTIONS_CACHE_URL isn't set, so actions/cache says that no cache service is there; set "
            "ACTIONS_CACHE_SERVICE_V2=true, or on GHES ACTIONS_CACHE_URL to the server",
        )
    try:
        address = read_address(url)
    except NotAUrl as fault:
        return trouble(title, f"{why}; and ACTIONS_CACHE_URL leads nowhere: {fault}")
    if server is not None and address.base != server.base:
        return trouble(title, f"{why}; so clients ask ACTIONS_CACHE_URL, which is {address.base}, not {server.base}")
    if not url.endswith("/"):
        return trouble(title, f"{why}; and ACTIONS_CACHE_URL ends without a slash, which v1's clients need: {url}/")
    return ok(title, f"{why}; ACTIONS_CACHE_URL is {url}")


def judge_mode(variables: Mapping[str, str]) -> Finding | None:
    """@actions/cache 6, internal/config.js; a mode that it doesn't know it takes for none given."""
    title = "cache mode"
    mode = variables.get("ACTIONS_CACHE_MODE", "").strip().lower()
    if mode == "none":
        return trouble(
            title, "ACTIONS_CACHE_MODE is none: @actions/cache asks no server at all; the workflow or a policy says so"
        )
    return ok(title, f"ACTIONS_CACHE_MODE is {mode}: {MODES[mode]}") if mode in MODES else None


def proxy_for(address: Address, variables: Mapping[str, str]) -> str | None:
    """The proxy that @actions/http-client uses for it (its proxy.js); None for the straight way."""
    if _is_loopback_to_node(address.host) or _is_excluded(address, _no_proxy(variables)):
        return None
    names = ("https_proxy", "HTTPS_PROXY") if address.is_tls else ("http_proxy", "HTTP_PROXY")
    return next((variables[name] for name in names if variables.get(name)), None)


def judge_way(address: Address, variables: Mapping[str, str]) -> Finding | None:
    """Return whether requests go through a proxy. None where no proxy is set at all."""
    title = "proxy"
    proxy = proxy_for(address, variables)
    if proxy is not None:
        near = [item for item in _no_proxy(variables) if _looks_meant(item, address.host)]
        if near:
            return trouble(
                title,
                f"NO_PROXY has {near[0]}, which @actions/cache doesn't take for {address.host}: it knows names and "
                f"their endings, no *; write {address.host}, or clients go through {shown(proxy)}",
            )
        if not shown(proxy).startswith("http://"):
            return unknown(title, f"{shown(proxy)} is asked by TLS or by another protocol, which this check can't do")
        return ok(title, f"@actions/cache goes through {shown(proxy)}; so does what is asked below")
    if any(variables.get(name) for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY")):
        return ok(title, f"one is set, but not for {address.host}")
    return None


def shown(proxy: str) -> str:
    """Without its password."""
    with_scheme = proxy if "://" in proxy else f"http://{proxy}"
    scheme, _, rest = with_scheme.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def _no_proxy(variables: Mapping[str, str]) -> list[str]:
    text = variables.get("no_proxy") or variables.get("NO_PROXY") or ""
    return [item.strip() for item in text.split(",") if item.strip()]


def _is_loopback_to_node(host: str) -> bool:
    return host == "localhost" or host.startswith("127.") or host in ("::1", "0:0:0:0:0:0:0:1")


def _is_excluded(address: Address, items: list[str]) -> bool:
    names = (address.host.upper(), f"{address.host}:{address.port}".upper())
    for item in (it.upper() for it in items):
        if item == "*" or any(
            name == item or name.endswith(f".{item}") or (item.startswith(".") and name.endswith(item))
            for name in names
        ):
            return True
    return False


def _looks_meant(item: str, host: str) -> bool:
    """`*.example.com` is a form that other programs take."""
    ending = item.lstrip("*")
    return item.startswith("*") and host.lower().endswith(ending.lower())
