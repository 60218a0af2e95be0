"""Log lines are JSON without secrets."""

import io
import json
import logging
import time
import timeit
from collections.abc import Iterator
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actions_cache import logs
from actions_cache.logs import LEFT_OUT, StreamBroken, without_secrets

TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJhYyI6IltdIn0.c2lnbmF0dXJl"


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    stream = io.StringIO()
    [handler] = logs.logger.handlers
    monkeypatch.setattr(handler, "stream", stream)
    yield stream
    logs.logger.thread_safe_clear_keys()


def lines(written: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in written.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("GET https://h/blobs/download/5f?se=1&sig=c2Vj_cmV0-x&a=b", "c2Vj_cmV0-x"),
        ("https://b.s3/k?X-Amz-Credential=AKIA%2F1&X-Amz-Signature=0123abcd", "0123abcd"),
        ("https://b.s3/k?X-Amz-Security-Token=IQoJb3JpZ2lu%2F%2F&x=1", "IQoJb3JpZ2lu"),
        ("x-amz-signature=0123abcd", "0123abcd"),
        ("Authorization: Bearer abc.def-ghi", "abc.def-ghi"),
        ("Authorization: token 0123abcd", "0123abcd"),
        ("{'Authorization': 'token 0123abcd'}", "0123abcd"),
        ("authorization=Basic OjAxMjNhYmNk", "OjAxMjNhYmNk"),
        ("Cookie: __Secure-actions-cache-session=admin.1763900000.c2Vj; a=b", "c2Vj"),
        (f"the token {TOKEN} isn't good", TOKEN),
        (f'{{"token":"{TOKEN}"}}', "c2lnbmF0dXJl"),
    ],
)
def test_secrets_are_masked_and_rest_stays(text: str, secret: str):
    masked = without_secrets(text)
    assert secret not in masked
    assert LEFT_OUT in masked
    assert masked[:3] == text[:3]


@pytest.mark.parametrize(
    "text",
    ["design=flat", "the bearer of news", "authorization: a token is wanted", "keys begin with eyJ", "sig", "a.b.c"],
)
def test_text_resembling_secret_stays(text: str):
    assert without_secrets(text) == text


BASE64URL = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-", min_size=8, max_size=40)
AROUND = st.text(st.sampled_from("eyJ.-_ =&;:\"'/\\éx\n"), max_size=20)


@given(AROUND, BASE64URL, BASE64URL, BASE64URL, AROUND)
def test_jwt_is_masked_anywhere(before: str, header: str, payload: str, mac: str, after: str):
    token = f"eyJ{header}.{payload}.{mac}"
    assert f"{payload}.{mac}" not in without_secrets(f"{before}{token}{after}")


@given(AROUND, st.sampled_from(["sig", "X-Amz-Signature", "X-Amz-Security-Token"]), BASE64URL, AROUND)
def test_signature_is_masked_after_any_text(before: str, name: str, mac: str, after: str):
    assert f"={mac}" not in without_secrets(f"{before}&{name}={mac}{after}")
    assert f"={mac}" not in without_secrets(f"eyJ{before}-{name}={mac}{after}")


@pytest.mark.parametrize("piece", ["eyJ-", "eyJ", "eyJ.", "Bearer ", "Authorization: ", "sig=", " ", "eyJa.a. "])
def test_masking_takes_linear_time(piece: str):
    """Quadratic time would be 64 times as long for eight times the text."""

    def seconds(size: int) -> float:
        text = piece * (size // len(piece))
        return min(timeit.repeat(lambda: without_secrets(text), time.process_time, number=1, repeat=9))

    assert seconds(64 * 1024) < 32 * seconds(8 * 1024) + 0.02


def test_line_is_escaped_json_without_secrets(written: io.StringIO):
    key = "\x1b[2J\x7f\x9b\u202e\u2028"
    error = RuntimeError('GET "https://h/b?sig=c2VjcmV0": refused')
    logging.getLogger("actions_cache.anything").error(key, exc_info=error)
    assert written.getvalue().rstrip("\n").isprintable()
    [line] = lines(written)
    assert "c2VjcmV0" not in written.getvalue()
    assert f"sig={LEFT_OUT}" in str(line["exception"])
    assert (line["message"], line["level"]) == (key, "ERROR")
    # Lambda takes a line with a timestamp that isn't of RFC 3339 for one of level INFO.
    assert datetime.fromisoformat(str(line["timestamp"])).tzinfo is not None
    assert str(line["timestamp"])[10] == "T"


def test_request_starts_with_fresh_fields(written: io.StringIO):
    logger = logging.getLogger("actions_cache.anything")
    logs.begin("one")
    logs.append(repository="42")
    logger.info("first")
    logs.begin("two")
    logger.info("second")
    first, second = lines(written)
    assert (first["function_request_id"], first["repository"]) == ("one", "42")
    assert (second["function_request_id"], "repository" in second) == ("two", False)


@pytest.mark.parametrize("name", ["uvicorn.error", "mangum.http"])
def test_deliberately_broken_stream_is_not_logged(written: io.StringIO, name: str):
    # The server is configured before it loads the app, as in functions/download/run.sh.
    logs.adopt(name.partition(".")[0], "WARNING")
    for error in (StreamBroken(), RuntimeError("odd")):
        logging.getLogger(name).error("Exception in ASGI application\n", exc_info=error)
    [line] = lines(written)
    assert (line["exception_name"], line["name"]) == ("RuntimeError", name)
