"""Bad input of every kind: no 500, no hang, an answer in the client's dialect, and the server is as good as before."""

import pytest
from hypothesis import HealthCheck, given, settings

from tests.guarantees.fuzz.properties import PROPERTIES, check
from tests.guarantees.fuzz.target import Target, errors_logged, exchange, request
from tests.integration.local_run.local_run import LocalRun

pytestmark = pytest.mark.slow

MIB = 1024 * 1024


@pytest.mark.parametrize("kind", PROPERTIES)
def test_bad_input_is_answered_in_time_and_without_5xx(fuzzed: tuple[Target, LocalRun], kind: str, is_long: bool):
    target, run = fuzzed
    before = len(errors_logged(run))

    @settings(
        max_examples=1_000 if is_long else 60, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(PROPERTIES[kind](target))
    def send(sent: bytes) -> None:
        check(target, sent)

    send()
    target.restores()
    assert errors_logged(run)[before:] == []


LINES = [
    *(b"GET  /  HTTP/1.1", b"PRI * HTTP/2.0", b"CONNECT a:1 HTTP/1.1", b"GET * HTTP/1.1", b"GET health HTTP/1.1"),
    *(b"GET http://elsewhere/ HTTP/1.1", b"GET /\x80\xff HTTP/1.1", b"GET /%00%ff HTTP/1.1", b"GET /a#b HTTP/1.0"),
    *(b"GET //x//../ HTTP/1.1", b"GET /?%=&=&&%ff=%00 HTTP/1.1", b"G\0T / HTTP/1.1", b"GET /blobs/object/1/ HTTP/1.1"),
]
LENGTHS = [b"-1", b"+5", b"5, 5", b"0x5", b"1e3", b"", b" 5 ", b"9" * 20, b"\xb2"]
CODINGS = [b"Chunked", b"chunked, chunked", b"gzip, chunked", b"identity", b"x", b"chunked\x0b"]
CHUNKS = [b"-1\r\n", b"f" * 18 + b"\r\n", b"5;a=b\r\nhello\r\n", b"5\nhello\n", b"zz\r\n", b"5\r\nhi", b"hello"]


def test_malformed_requests_get_no_500(fuzzed: tuple[Target, LocalRun]):
    """They have odd lines and headers, no length or two of them, or wrong sizes of chunks."""
    target, run = fuzzed
    before = len(errors_logged(run))
    upload = target.upload.removeprefix(target.server).encode()
    framed = [[(b"Content-Length", value)] for value in LENGTHS]
    framed += [[(b"Content-Length", b"5"), (b"Content-Length", b"6")], [(b"Transfer-Encoding", b"chunked")] * 2]
    framed += [[(b"Transfer-Encoding", value)] for value in CODINGS]
    framed += [[(b"Transfer-Encoding", b"chunked"), (b"Content-Length", b"5")]]
    sent = [line + rows for line in LINES for rows in (b"\r\n\r\n", b"\r\nHost: a\r\n folded\r\nA\0: b\r\n\r\n", b"")]
    sent += [request(b"PUT", upload, rows, b"hello", with_length=False) for rows in framed]
    for where in (upload, upload + b"&comp=blocklist", upload + b"&comp=block&blockid=AAAA"):
        sent += [request(b"PUT", where, [(b"Transfer-Encoding", b"chunked")], body) for body in CHUNKS]
    for raw in sent:
        check(target, raw, is_whole=False)
    target.restores()
    assert errors_logged(run)[before:] == []


def test_header_of_megabytes_is_refused(fuzzed: tuple[Target, LocalRun]):
    target, _ = fuzzed
    assert 400 <= exchange(target.server, request(b"GET", b"/health", [(b"X-Long", b"a" * 8 * MIB)])).status < 500
    assert exchange(target.server, request(b"GET", b"/health", [])).status == 200


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_read_with_a_body_is_answered(fuzzed: tuple[Target, LocalRun], method: bytes):
    """CloudFront refuses it; an origin that a body is announced to, and that gets none, would wait for it."""
    target, _ = fuzzed
    for url in (target.object, target.download, f"{target.server}/health"):
        sent = request(method, url.removeprefix(target.server).encode(), [], b"a body")
        assert exchange(target.server, sent).status < 500
