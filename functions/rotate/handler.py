"""Handle the schedule's event with a step of the rotation, and CloudFormation's by telling the edge the secrets."""

from functools import cache
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from actions_cache.logs import handled, logger, refusal
from actions_cache.settings import Settings
from functions.rotate.cloudformation import run_and_respond
from functions.rotate.services import RotateServices

CUSTOM_RESOURCE = frozenset({"RequestType", "ResponseURL", "LogicalResourceId", "StackId", "RequestId"})
"""Fields that are read of a custom resource's event. An event that has only some of them is neither CloudFormation's,
since it couldn't be answered, nor the schedule's."""


@cache
def services() -> RotateServices:
    return RotateServices(Settings())


@handled
def lambda_handler(event: Any, context: LambdaContext) -> dict[str, str]:
    if not isinstance(event, dict) or (CUSTOM_RESOURCE & event.keys() and not event.keys() >= CUSTOM_RESOURCE):
        wanted = "a schedule's event, or CloudFormation's with " + ", ".join(sorted(CUSTOM_RESOURCE))
        return refusal(event, wanted)
    if "RequestType" in event:
        return run_and_respond(event, context, lambda: services().rotate_secret.tell_edge())  # noqa: PLW0108 - settings too may fail
    phase = services().rotate_secret()
    logger.info("rotation", phase=phase)
    return {"phase": phase}
