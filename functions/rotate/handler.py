"""The schedule's event in, a step of the rotation out; and CloudFormation's, which waits until the edge knows."""

from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from actions_cache.logs import handled, logger, refusal
from actions_cache.settings import Settings
from functions.rotate.cloudformation import run_and_respond
from functions.rotate.services import RotateServices

CUSTOM_RESOURCE = frozenset({"RequestType", "ResponseURL", "LogicalResourceId", "StackId", "RequestId"})
"""Fields of a custom resource's event that are read. An event without all of them can't be answered, and isn't the
schedule's."""


@cache
def secrets() -> RotateServices:
    return RotateServices(Settings())


@handled
def lambda_handler(event: Any, context: LambdaContext) -> dict[str, str]:
    if not isinstance(event, dict) or (CUSTOM_RESOURCE & event.keys() and not event.keys() >= CUSTOM_RESOURCE):
        wanted = "a schedule's event, or CloudFormation's with " + ", ".join(sorted(CUSTOM_RESOURCE))
        return refusal(event, wanted)
    if "RequestType" in event:
        return run_and_respond(event, context, lambda: secrets().rotate_secret.tell_edge())  # noqa: PLW0108 - settings too may fail
    phase = secrets().rotate_secret()
    logger.info("rotation", phase=phase)
    return {"phase": phase}
