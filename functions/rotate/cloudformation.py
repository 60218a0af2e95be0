"""Respond to CloudFormation for a custom resource: one PUT in every case, or the deploy waits until its own timeout.

crhelper would do this too, but it makes clients of three services that this function doesn't need, and retries without
end. https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref-responses.html
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
"""Time before the function's timeout at which a failure is reported at the latest; three attempts of 2 s fit. More:
less time for the work. Less: CloudFormation may never hear of the failure."""

RETRY_SECONDS = 3.0
"""Time between two attempts: in a new stack the role's permissions and the store are seconds old. Longer: a deploy
waits for nothing. Shorter: more calls, a tenth of a cent each."""

REASON_CHARACTERS = 500
"""Number of characters of an error that are sent: a response may have 4,096 bytes, and JSON makes six of a character
that isn't ASCII. Fewer: errors are cut off sooner."""


class CallbackFailed(Exception):
    """Raised when CloudFormation didn't take the response. It doesn't name the presigned URL, since it is logged."""


def run_and_respond(event: Event, context: LambdaContext, create_or_update: Callable[[], object]) -> dict[str, str]:
    """Do what CloudFormation asks for, and respond with the outcome. A Delete does nothing.

    The work is tried again while there is time, since a single error of a service would roll back the stack.

    If it takes too long, a timer reports a failure, and the work goes on until the function's timeout ends it. It
    doesn't run in a thread of its own: that would be frozen with the function, and write outdated values once thawed.

    Args:
        event: CloudFormation's event.
        context: says how much time the function has left.
        create_or_update: the work.

    Returns:
        The status that CloudFormation got.

    Raises:
        CallbackFailed: CloudFormation didn't take the response.
    """
    callback = _Callback(event)
    seconds = max(0.0, context.get_remaining_time_in_millis() / 1000 - RESPONSE_MARGIN_SECONDS)
    work = _Work(create_or_update)
    late = threading.Timer(
        seconds,
        lambda: callback.respond(f"the edge couldn't be told the signing secret in {seconds:.0f} s{work.reason}"),
    )
    late.daemon = True
    late.start()
    try:
        failure = None if event["RequestType"] == "Delete" else _failure(lambda: work.run(context))
    finally:
        late.cancel()
    return {"status": callback.respond(failure)}


def _failure(do: Callable[[], object]) -> str | None:
    """Do it, and return the reason if it fails."""
    try:
        do()
    except Exception as error:  # noqa: BLE001 - whatever it is, CloudFormation must hear of it
        logger.exception("the edge doesn't know the signing secret")
        return f"the edge couldn't be told the signing secret: {str(error) or type(error).__name__}"
    return None


@dataclass
class _Work:
    """Repeats the work until it succeeds."""

    do: Callable[[], object]
    reason: str = ""
    """Reason of the last attempt's failure, to be appended to a sentence."""

    def run(self, context: LambdaContext) -> None:
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
class _Callback:
    """Responds to CloudFormation once: when the work ends or when the timer fires, whichever comes first."""

    event: Event
    status: str | None = None
    """The status that was sent."""
    _responding: threading.Lock = field(default_factory=threading.Lock)

    def respond(self, failure: str | None) -> str:
        """Send a failure, or success if it is None, unless a response was sent before.

        Returns:
            The status that CloudFormation has.

        Raises:
            CallbackFailed: CloudFormation didn't take the response.
        """
        with self._responding:
            if self.status is None:
                status = "SUCCESS" if failure is None else "FAILED"
                _put(self.event["ResponseURL"], json.dumps(self._body(status, failure or "")).encode())
                self.status = status
            return self.status

    def _body(self, status: str, reason: str) -> dict[str, str]:
        return {
            "Status": status,
            "Reason": reason[:REASON_CHARACTERS],
            # It stays the same: with another one, CloudFormation would delete the old resource.
            "PhysicalResourceId": self.event.get("PhysicalResourceId") or self.event["LogicalResourceId"],
            "StackId": self.event["StackId"],
            "RequestId": self.event["RequestId"],
            "LogicalResourceId": self.event["LogicalResourceId"],
        }


# tenacity retries, since urllib3's own retries would log the URL.
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
