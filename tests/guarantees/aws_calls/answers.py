"""Forms of answers that take the place of an emulator's."""

import json
from collections.abc import Callable
from io import BytesIO
from typing import Any

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ConnectionClosedError
from urllib3.exceptions import ProtocolError

Effect = Callable[[], AWSResponse]
"""Lets the emulator do what the request says, and returns its answer."""

Answer = Callable[[AWSPreparedRequest, str, Effect], AWSResponse]
"""Answers a request of this operation, with or without its effect, or raises what botocore's HTTP client would."""

XML = {"Content-Type": "application/xml"}
JSON = {"Content-Type": "application/x-amz-json-1.0"}
MADE_UP = "made up by a test"
NOT_AUTHORIZED = (
    "User: arn:aws:sts::123456789012:assumed-role/role/function is not authorized to perform: {action} on resource: "
    "arn:aws:test because no identity-based policy allows the {action} action"
)


class _Body(BytesIO):
    """Provides a body as urllib3 does."""

    def __init__(self, body: bytes, *, breaks: bool = False) -> None:
        super().__init__(body)
        self._breaks = breaks

    def read(self, size: int | None = -1, **_: Any) -> bytes:
        chunk = super().read(size)
        if not chunk and self._breaks:
            raise ProtocolError("Connection broken: IncompleteRead")
        return chunk

    def stream(self, **_: Any) -> Any:
        while chunk := self.read():
            yield chunk


def body_of(request: AWSPreparedRequest) -> Any:
    assert isinstance(request.body, bytes | str)
    return json.loads(request.body)


def respond(request: AWSPreparedRequest, status: int, body: bytes, **headers: str) -> AWSResponse:
    return AWSResponse(request.url, status, {**headers, "Content-Length": str(len(body))}, _Body(body))  # type: ignore[arg-type]


def page(status: int, body: bytes) -> Answer:
    return lambda request, _, __: respond(request, status, body, **{"Content-Type": "text/html"})


def json_error(status: int, code: str, message: str = MADE_UP, **more: Any) -> Answer:
    body = json.dumps({"__type": f"com.amazonaws.test#{code}", "message": message, **more}).encode()
    headers = {**JSON, "x-amzn-RequestId": "TEST", "x-amzn-errortype": code}
    return lambda request, _, __: respond(request, status, body, **headers)


def not_authorized(service: str) -> Answer:
    def answer(request: AWSPreparedRequest, operation: str, effect: Effect) -> AWSResponse:
        message = NOT_AUTHORIZED.format(action=f"{service}:{operation}")
        return json_error(400, "AccessDeniedException", message)(request, operation, effect)

    return answer


def canceled(*reasons: str) -> Answer:
    """Cancel a transaction with reasons for its first items, and none for the others."""

    def answer(request: AWSPreparedRequest, operation: str, effect: Effect) -> AWSResponse:
        count = len(body_of(request)["TransactItems"])
        codes = [*reasons[:count], *["None"] * (count - len(reasons))]
        message = f"Transaction cancelled, please refer cancellation reasons for specific reasons [{', '.join(codes)}]"
        listed = [{"Code": code} if code == "None" else {"Code": code, "Message": "made up"} for code in codes]
        error = json_error(400, "TransactionCanceledException", message, CancellationReasons=listed)
        return error(request, operation, effect)

    return answer


def unprocessed(request: AWSPreparedRequest, _: str, __: Effect) -> AWSResponse:
    """Answer that no key of a batch was looked at."""
    body = json.dumps({"Responses": {}, "UnprocessedKeys": body_of(request)["RequestItems"]}).encode()
    return respond(request, 200, body, **JSON)


def xml_error_body(code: str, message: str = MADE_UP, more: str = "") -> bytes:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message>{more}'
        "<RequestId>TEST</RequestId></Error>"
    ).encode()


def xml_error(status: int, code: str, message: str = MADE_UP, more: str = "", **headers: str) -> Answer:
    """Answer with an XML error; the answer to a HEAD has no body, so only its status tells."""

    def answer(request: AWSPreparedRequest, _: str, __: Effect) -> AWSResponse:
        body = b"" if request.method == "HEAD" else xml_error_body(code, message, more)
        return respond(request, status, body, **XML, **headers)

    return answer


def error_inside(code: str) -> Answer:
    """Answer 200 with an error in the body."""
    return lambda request, _, __: respond(request, 200, xml_error_body(code), **XML)


def keys_fail(code: str) -> Answer:
    """Answer 200 to DeleteObjects, and that every key stays."""

    def answer(request: AWSPreparedRequest, _: str, __: Effect) -> AWSResponse:
        keys = str(request.body.decode() if isinstance(request.body, bytes) else request.body).split("<Key>")[1:]
        rows = "".join(
            f"<Error><Key>{key.partition('<')[0]}</Key><Code>{code}</Code><Message>made up</Message></Error>"
            for key in keys
        )
        body = f'<?xml version="1.0" encoding="UTF-8"?><DeleteResult>{rows}</DeleteResult>'.encode()
        return respond(request, 200, body, **XML)

    return answer


def malformed(request: AWSPreparedRequest, _: str, effect: Effect) -> AWSResponse:
    """Answer with half of an XML document, and with the length that it has."""
    body = effect().content
    return respond(request, 200, body[: len(body) // 2], **XML)


def raises(error: Callable[[str], Exception]) -> Answer:
    def answer(request: AWSPreparedRequest, _: str, __: Effect) -> AWSResponse:
        raise error(request.url or "")

    return answer


def lost(request: AWSPreparedRequest, _: str, effect: Effect) -> AWSResponse:
    effect()
    raise ConnectionClosedError(endpoint_url=request.url)


def half(*, breaks: bool) -> Answer:
    """Answer with half of the body, and then break, or end in order.

    If an answer isn't streamed, botocore's HTTP client reports in both cases that it broke.
    """

    def answer(request: AWSPreparedRequest, _: str, effect: Effect) -> AWSResponse:
        whole = effect()
        body = whole.raw.read()
        if not request.stream_output:
            raise ConnectionClosedError(endpoint_url=request.url)
        headers = whole.headers if breaks else {**whole.headers, "Content-Length": str(len(body))}
        return AWSResponse(request.url, whole.status_code, headers, _Body(body[: len(body) // 2], breaks=breaks))  # type: ignore[arg-type]

    return answer
