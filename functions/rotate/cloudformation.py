"""A custom resource's answer: one PUT, in every case, or the deploy waits for it until its timeout.

Not by crhelper: it makes clients of three services that this function has no use for, and asks again without end.
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref-responses.html
"""

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import urllib3
from aws_lambda_powertools.utilities.typing import LambdaContext
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_fixed

from actions_cache.domain.errors import TryAgain
from actions_cache.logs import logger
from actions_cache.ports import Unavailable

Event = Mapping[str, Any]

RESPONSE_MARGIN_SECONDS = 8.0
"""Before the function's timeout: an answer that it failed. Three attempts of 2 s fit."""

RETRY_SECONDS = 3.0
"""Seconds between two attempts: in a new stack the role's rights and the store are seconds old. Longer: a deploy waits
for nothing. Shorter: more calls, a tenth of a cent each."""

REASON_CHARACTERS = 500
"""An answer may have 4,096 bytes, and JSON makes six of a character that isn't ASCII."""


class CallbackFailed(Exception):
    """CloudFormation didn't take the answer. Says no URL: it is presigned, and this is logged."""


def run_and_respond(event: Event, context: LambdaContext, create_or_update: Callable[[], object]) -> dict[str, str]:
    """Do what CloudFormation asks for, and report how that ended. A Delete does nothing.

    A service that doesn't answer as it should is asked again while there is time: a single fault would roll back the
    stack.

    If the work takes too long, a timer reports a failure while the work goes on until the function's timeout ends it: a
    thread left behind would be frozen with the function, and write outdated values once it is thawed.

    Raises:
        Untold: CloudFormation couldn't be told.
    """
    answer = _Answer(event)
    seconds = max(0.0, context.get_remaining_time_in_millis() / 1000 - RESPONSE_MARGIN_SECONDS)
    work = _Work(create_or_update)
    late = threading.Timer(
        seconds, lambda: answer.respond(f"the edge couldn't be told the signing secret in {seconds:.0f} s{work.reason}")
    )
    late.daemon = True
    late.start()
    try:
        failure = None if event["RequestType"] == "Delete" else _failure(lambda: work.done(context))
    finally:
        late.cancel()
    return {"status": answer.respond(failure)}


def _failure(do: Callable[[], object]) -> str | None:
    """Why it failed, or None."""
    try:
        do()
    except Exception as error:  # noqa: BLE001 - whatever it is, CloudFormation must hear of it
        logger.exception("the edge doesn't know the signing secret")
        return f"the edge couldn't be told the signing secret: {str(error) or type(error).__name__}"
    return None


@dataclass
class _Work:
    """Tries the work again until it succeeds."""

    do: Callable[[], object]
    reason: str = ""
    """Why the last attempt failed, as the end of a sentence."""

    def done(self, context: LambdaContext) -> None:
        """Do the work.

        Raises:
            Exception: the last attempt's error, when no other attempt would end in time.
        """
        while True:
            try:
                self.do()
            except (Unavailable, TryAgain) as error:
                self.reason = f": {error}"
                if not _is_time_left(context.get_remaining_time_in_millis() / 1000):
                    raise
                logger.warning("the edge isn't ready to be told the signing secret", extra={"error": str(error)})
            else:
                return
            time.sleep(RETRY_SECONDS)


def _is_time_left(seconds: float) -> bool:
    """Return whether this many seconds before the function's timeout leave time for a wait and another attempt."""
    return seconds - RETRY_SECONDS > RESPONSE_MARGIN_SECONDS


@dataclass
class _Answer:
    """Given once, by whoever comes first: the work's end or the timer."""

    event: Event
    status: str | None = None
    _giving: threading.Lock = field(default_factory=threading.Lock)

    def respond(self, failure: str | None) -> str:
        """Returns: the status that CloudFormation has now been told.

        Raises: Untold.
        """
        with self._giving:
            if self.status is None:
                status = "SUCCESS" if failure is None else "FAILED"
                _put(self.event["ResponseURL"], json.dumps(self._body(status, failure or "")).encode())
                self.status = status
            return self.status

    def _body(self, status: str, reason: str) -> dict[str, str]:
        return {
            "Status": status,
            "Reason": reason[:REASON_CHARACTERS],
            # The same each time: another one would have CloudFormation delete the one before.
            "PhysicalResourceId": self.event.get("PhysicalResourceId") or self.event["LogicalResourceId"],
            "StackId": self.event["StackId"],
            "RequestId": self.event["RequestId"],
            "LogicalResourceId": self.event["LogicalResourceId"],
        }


# Not by urllib3's own retries, which log the URL.
@retry(retry=retry_if_exception_type(CallbackFailed), stop=stop_after_attempt(3), wait=wait_fixed(0.2), reraise=True)
def _put(url: str, body: bytes) -> None:
    try:
        # The URL is signed for no content type.
        headers = {"Content-Type": ""}
        status = urllib3.request(
            "PUT", url, body=body, headers=headers, timeout=urllib3.Timeout(2), retries=False
        ).status
    except urllib3.exceptions.HTTPError as error:
        raise CallbackFailed(f"CloudFormation wasn't reached: {type(error).__name__}") from None
    if status not in range(200, 300):
        raise CallbackFailed(f"CloudFormation refused the answer: status {status}")
