"""A custom resource's answer: one PUT, in every case, or the deploy waits for it until its timeout.

Not by crhelper: it makes clients of three services that this function has no use for, and asks again without end.
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref-responses.html
"""

import json
import threading
from collections.abc import Callable, Mapping
from typing import Any

import urllib3
from aws_lambda_powertools.utilities.typing import LambdaContext

from actions_cache.logs import logger

LAST_WORDS_SECONDS = 5.0
"""Before the function's timeout: an answer that it failed."""


def answered(
    event: Mapping[str, Any], context: LambdaContext, create_or_update: Callable[[], object]
) -> dict[str, str]:
    """Does what CloudFormation asks for, and tells it how that ended. Nothing is to be done at a Delete.

    Raises: urllib3.exceptions.HTTPError: it couldn't be told.
    """
    deadline = context.get_remaining_time_in_millis() / 1000 - LAST_WORDS_SECONDS
    reason = _failure(create_or_update, deadline) if event["RequestType"] != "Delete" else None
    answer = {
        "Status": "SUCCESS" if reason is None else "FAILED",
        "Reason": reason or "",
        # The same each time: another one would have CloudFormation delete the one before.
        "PhysicalResourceId": event.get("PhysicalResourceId") or event["LogicalResourceId"],
        "StackId": event["StackId"],
        "RequestId": event["RequestId"],
        "LogicalResourceId": event["LogicalResourceId"],
    }
    urllib3.request(
        "PUT",
        event["ResponseURL"],
        body=json.dumps(answer).encode(),
        headers={"Content-Type": ""},
        timeout=urllib3.Timeout(2),
        retries=urllib3.Retry(2, backoff_factor=0.2),
    )
    return {"status": answer["Status"]}


def _failure(do: Callable[[], object], seconds: float) -> str | None:
    """Why it failed, or None. What takes longer is left behind, to end with the function."""
    outcome: list[str | None] = []

    def run() -> None:
        try:
            do()
        except Exception as error:  # noqa: BLE001 - whatever it is, CloudFormation must hear of it
            logger.exception("the edge doesn't know the signing secret")
            outcome.append(f"the edge couldn't be told the signing secret: {error}"[:1000])
        else:
            outcome.append(None)

    worker = threading.Thread(target=run, daemon=True)
    worker.start()
    worker.join(max(0.0, seconds))
    return outcome[0] if outcome else f"the edge couldn't be told the signing secret within {seconds:.0f} s"
