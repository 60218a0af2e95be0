"""The page and its session are served with the right headers, and the cookie lets in its owner alone."""

import json
import re
from collections.abc import Iterator
from http.cookies import SimpleCookie
from typing import Any

import pytest
import urllib3
from mangum import Mangum

from actions_cache.domain.access import Role
from actions_cache.domain.timing import SECOND
from actions_cache.management_services import ManagementServices
from dev.docs.page_server import PageServer, page_server
from dev.local.template import Template
from functions.manage.handler import create_app
from functions.manage.page import FOLDER, TYPES
from functions.manage.session import SESSION

HOST = "cache.example.com"


@pytest.fixture(scope="module")
def store(template: Template) -> Iterator[PageServer]:
    with page_server(template, "serving") as made:
        made.entry(made.repository("42", "acme/website"), "k", 1)
        yield made


def ask(store: PageServer, method: str, path: str, body: Any = None, **headers: str) -> urllib3.BaseHTTPResponse:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return urllib3.request(method, store.url + path, json=body, headers=named, timeout=30)


def sign_in(store: PageServer, role: Role = Role.ADMIN) -> str:
    """Returns the cookie, as a browser sends it."""
    token = store.tokens.admin if role is Role.ADMIN else store.tokens.for_reading
    answer = ask(store, "POST", "/manage/session", {"token": token}, sec_fetch_site="same-origin")
    assert (answer.status, answer.json()["role"]) == (200, role)
    return answer.headers["set-cookie"].partition(";")[0]


# ------------------------------------------------------------------ files


def test_page_allows_only_its_own_modules(store):
    answer = ask(store, "GET", "/")
    policy = answer.headers["content-security-policy"]
    [nonce] = re.findall(r"script-src 'nonce-([\w-]{20,})';", policy)
    assert {"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"} <= set(policy.split("; "))
    assert "unsafe" not in policy
    assert "*" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    html = answer.data.decode()
    assert "{{" not in html
    assert len(re.findall(rf'nonce="{nonce}"', html)) == len(re.findall(r"<script|<link rel=\"stylesheet", html)) == 2
    assert not re.search(r"\son\w+=|<style|style=|javascript:|https?://(?!www\.w3\.org)", html)
    assert nonce not in ask(store, "GET", "/").data.decode()


def test_static_files_are_served_only_by_digest(store):
    html = ask(store, "GET", "/").data.decode()
    [files] = re.findall(r'src="(/manage/page/[0-9a-f]{16})/main\.mjs"', html)
    names = [it.name for it in FOLDER.iterdir() if it.suffix in TYPES]
    for name in names:
        answer = ask(store, "GET", f"{files}/{name}")
        assert answer.data == (FOLDER / name).read_bytes()
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["content-type"].startswith(("text/javascript", "text/css"))
    for wrong in (f"/manage/page/{'0' * 16}/main.mjs", f"{files}/index.html", f"{files}/..%2F..%2Fpage.py"):
        assert ask(store, "GET", wrong).status == 404


def test_modules_never_build_html_from_strings():
    for file in FOLDER.glob("*.mjs"):
        text = file.read_text()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text), (
            file
        )


# ------------------------------------------------------------------ the cookie


def test_anonymous_session_has_no_role_and_no_release(store):
    answer = ask(store, "GET", "/manage/session")
    assert (answer.status, answer.json()) == (200, {"role": None, "expires_at": None, "release": None})
    signed_in = ask(store, "GET", "/manage/session", cookie=sign_in(store)).json()
    assert signed_in["release"] == str(store.services.release)
    assert ask(store, "GET", "/manage/repositories").status == 401


@pytest.mark.parametrize("token", ["", " ", "f" * 64, "é" * 64, "x" * 1024])
def test_wrong_token_sets_no_cookie(store, token):
    answer = ask(store, "POST", "/manage/session", {"token": token}, sec_fetch_site="same-origin")
    assert answer.status == 401
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("body", [None, {}, {"token": 1}, {"token": "x" * 1025}, []])
def test_malformed_sign_in_is_refused(store, body):
    answer = ask(store, "POST", "/manage/session", body, sec_fetch_site="same-origin")
    assert answer.status == 422
    assert answer.json()["message"]


@pytest.mark.parametrize("body", [b"[" * 100_000, b"\xff", b"{"], ids=["deep", "not UTF-8", "cut"])
def test_invalid_json_sign_in_is_refused(store, body):
    headers = {"Content-Type": "application/json", "Sec-Fetch-Site": "same-origin"}
    answer = urllib3.request("POST", f"{store.url}/manage/session", body=body, headers=headers, timeout=30)
    assert answer.status == 422, answer.data
    assert "JSON" in answer.json()["message"]


@pytest.mark.parametrize("role", Role)
def test_cookie_grants_its_role_until_expiry(store, role):
    cookie = sign_in(store, role)
    assert ask(store, "GET", "/manage/session", cookie=cookie).json()["role"] == role
    assert ask(store, "GET", "/manage/repositories", cookie=cookie).status == 200
    began = store.services.clock.at
    try:
        store.services.clock.at = began + SESSION
        assert ask(store, "GET", "/manage/repositories", cookie=cookie).status == 401
        assert ask(store, "GET", "/manage/session", cookie=cookie).json()["role"] is None
    finally:
        store.services.clock.at = began


FROM_ELSEWHERE: dict[str, dict[str, str]] = {
    "another site": {"sec_fetch_site": "cross-site"},
    "a neighbour's host": {"sec_fetch_site": "same-site"},
    "another site, in an older browser": {"origin": "https://evil.example"},
    "a page without an origin": {"origin": "null"},
    "nobody says where": {},
    "ours, says one of two": {"sec_fetch_site": "cross-site", "origin": "{ours}"},
}


@pytest.mark.parametrize("headers", FROM_ELSEWHERE.values(), ids=FROM_ELSEWHERE)
def test_cross_site_requests_are_refused(store, headers):
    headers = {name: value.format(ours=store.url) for name, value in headers.items()}
    cookie = sign_in(store)
    path = "/manage/repositories/42/entries?key=k&dry_run=false"
    assert ask(store, "DELETE", path, cookie=cookie, **headers).status == 403
    assert ask(store, "DELETE", "/manage/session", cookie=cookie, **headers).status == 403
    assert ask(store, "POST", "/manage/session", {"token": store.tokens.admin}, **headers).status == 403
    assert store.services.repositories.usage("42").entries == 1


@pytest.mark.parametrize("headers", [{"sec_fetch_site": "same-origin"}, {"origin": "{ours}"}])
def test_same_origin_deletion_is_allowed(store, headers):
    headers = {name: value.format(ours=store.url) for name, value in headers.items()}
    answer = ask(store, "DELETE", "/manage/repositories/42/entries?key=k", cookie=sign_in(store), **headers)
    assert (answer.status, len(answer.json()["deleted"])) == (200, 1)


def test_read_only_cookie_cannot_delete(store):
    cookie = sign_in(store, Role.READ_ONLY)
    path = "/manage/repositories/42/entries?key=k&dry_run=false"
    answer = ask(store, "DELETE", path, cookie=cookie, sec_fetch_site="same-origin")
    assert answer.status == 403
    assert store.services.repositories.usage("42").entries == 1


def test_authorization_header_overrides_cookie(store):
    cookie = sign_in(store)
    answer = ask(store, "GET", "/manage/repositories", cookie=cookie, authorization="Bearer " + "f" * 64)
    assert answer.status == 401


def through_lambda(store: PageServer, method: str, path: str, body: Any = None, **headers: str) -> dict[str, Any]:
    """API Gateway invokes the function behind the edge, which has terminated https."""
    sent = {"Host": "api.execute-api.example", "X-Forwarded-Proto": "https", "X-Viewer-Host": HOST, **headers}
    event = {
        "resource": "/manage/session",
        "path": path,
        "httpMethod": method,
        "headers": sent,
        "multiValueHeaders": {name: [value] for name, value in sent.items()},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "requestContext": {"path": f"/v1{path}", "httpMethod": method, "identity": {"sourceIp": "192.0.2.1"}},
        "body": json.dumps(body),
        "isBase64Encoded": False,
    }
    answer: dict[str, Any] = Mangum(create_app(ManagementServices(store.services)), lifespan="off")(event, None)  # type: ignore[arg-type]
    return answer


def test_https_cookie_is_secure_and_strict(store):
    answer = through_lambda(
        store,
        "POST",
        "/manage/session",
        {"token": store.tokens.admin},
        **{"Content-Type": "application/json", "Origin": f"https://{HOST}"},
    )
    assert answer["statusCode"] == 200
    headers = {**answer.get("headers", {}), **{k: v[0] for k, v in answer.get("multiValueHeaders", {}).items()}}
    [(name, cookie)] = SimpleCookie(headers["set-cookie"]).items()
    assert name == "__Secure-actions-cache-session"
    assert cookie["secure"] is cookie["httponly"] is True
    assert cookie["samesite"].lower() == "strict"
    assert (cookie["path"], cookie["domain"], cookie["max-age"]) == ("/manage", "", str(SESSION // SECOND))
    asked = through_lambda(store, "GET", "/manage/session", Cookie=f"{name}={cookie.value}")
    assert json.loads(asked["body"])["role"] == "admin"
    # The name that plain http has, which anybody on the way could set, counts for nothing here.
    asked = through_lambda(store, "GET", "/manage/session", Cookie=f"actions-cache-session={cookie.value}")
    assert json.loads(asked["body"])["role"] is None
