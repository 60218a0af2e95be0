"""Runs moto as AWS, but for one call, which gets an answer of the table (kinds.py)."""

import json
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from moto.core.botocore_stubber import BotocoreStubber, MockRawResponse

from tests.guarantees.aws_calls.answers import body_of
from tests.guarantees.aws_calls.calls import ADAPTERS, Site
from tests.guarantees.aws_calls.kinds import Kind

_AS_MOTO = BotocoreStubber.__call__


@dataclass(frozen=True)
class Call:
    service: str
    operation: str
    number: int
    """Number of the call, from 1, among the calls of this operation since the count began."""

    def __str__(self) -> str:
        return f"{self.service} {self.operation} {self.number}"


@dataclass
class _Fault:
    call: Call
    kind: Kind
    left: float


@dataclass
class EdgeStore:
    """Stands for CloudFront's KeyValueStore, which moto lacks."""

    values: dict[str, str] = field(default_factory=dict)
    version: int = 1

    def answer(self, request: AWSPreparedRequest) -> AWSResponse:
        path = unquote(urlsplit(request.url or "").path)
        _, is_key, key = path.partition("/keys/")
        if not is_key:
            return self._respond(request, 200, {"ItemCount": len(self.values), "TotalSizeInBytes": 0, "KvsARN": path})
        if request.method == "PUT":
            if str(request.headers["If-Match"]) not in (str(self.version), f"b'{self.version}'"):
                return self._respond(request, 409, {"__type": "ConflictException", "message": "another version"})
            self.values[key] = body_of(request)["Value"]
            self.version += 1
            return self._respond(request, 200, {"ItemCount": len(self.values), "TotalSizeInBytes": 0})
        if key not in self.values:
            return self._respond(request, 404, {"__type": "ResourceNotFoundException", "message": "no such key"})
        value = {"Key": key, "Value": self.values[key], "ItemCount": len(self.values), "TotalSizeInBytes": 0}
        return self._respond(request, 200, value)

    def _respond(self, request: AWSPreparedRequest, status: int, body: dict[str, Any]) -> AWSResponse:
        headers = {"Content-Type": "application/json", "ETag": str(self.version)}
        if "__type" in body:
            headers["x-amzn-errortype"] = body["__type"]
        return AWSResponse(request.url, status, headers, MockRawResponse(json.dumps(body).encode()))  # type: ignore[arg-type]


@dataclass
class FaultyAws:
    calls: list[Call] = field(default_factory=list)
    reached: dict[Site, set[str]] = field(default_factory=dict)
    """Operations that each place in the adapters called."""
    met: int = 0
    """Number of requests that the fault answered."""
    edge: EdgeStore = field(default_factory=EdgeStore)
    _counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    _fault: _Fault | None = None
    _one_at_a_time: Any = field(default_factory=threading.RLock)

    def count_from_now(self) -> None:
        self.calls.clear()
        self._counts.clear()

    @contextmanager
    def answering(self, call: Call, kind: Kind, times: float = inf) -> Iterator[None]:
        """Let the fault answer this many of the operation's requests from this call on, botocore's retries too."""
        self.count_from_now()
        self.met = 0
        self._fault = _Fault(call, kind, times)
        try:
            yield
        finally:
            self._fault = None

    def __call__(self, stubber: BotocoreStubber, event_name: str, request: AWSPreparedRequest) -> AWSResponse | None:
        _, service, operation = event_name.split(".")
        kind = self._note(service, operation)

        def effect() -> AWSResponse:
            if service == "cloudfront-keyvaluestore":
                return self.edge.answer(request)
            answer = _AS_MOTO(stubber, event_name, request)
            assert answer is not None
            return answer

        return kind.answer(request, operation, effect) if kind else effect()

    def _note(self, service: str, operation: str) -> Kind | None:
        with self._one_at_a_time:
            self._counts[service, operation] += 1
            call = Call(service, operation, self._counts[service, operation])
            self.calls.append(call)
            for site in _sites():
                self.reached.setdefault(site, set()).add(operation)
            fault = self._fault
            if fault is None or (service, operation) != (fault.call.service, fault.call.operation):
                return None
            if call.number < fault.call.number or fault.left <= 0:
                return None
            fault.left -= 1
            self.met += 1
            return fault.kind


def _sites() -> Iterator[Site]:
    """Yield the adapters' functions that the present call comes through."""
    frame = sys._getframe()
    while (following := frame.f_back) is not None:
        frame = following
        if frame.f_code.co_filename.startswith(ADAPTERS):
            name = frame.f_code.co_qualname.replace(".<locals>.<lambda>", "").partition(".<locals>")[0]
            yield Site(frame.f_code.co_filename.removeprefix(ADAPTERS), name)


@contextmanager
def faulty_aws() -> Iterator[FaultyAws]:
    """Inject faults into moto's mock."""
    aws = FaultyAws()

    def answer(self: BotocoreStubber, event_name: str, request: AWSPreparedRequest, **_: Any) -> AWSResponse | None:
        return aws(self, event_name, request) if self.enabled else None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BotocoreStubber, "__call__", answer)
        yield aws
