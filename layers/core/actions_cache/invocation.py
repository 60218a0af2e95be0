"""Refuses events that a function isn't for, such as those of the console's test button or `sam local invoke`."""

from typing import Any

from actions_cache.logs import logger


def refusal(event: object, wanted: str) -> dict[str, str]:
    """Log an event that a function can't read, and return the answer to it. Nothing else is done.

    Args:
        event: as it came. Only the names of its fields are logged: some of them hold tokens.
        wanted: what the function reads, with the file in `events/` that shows it.
    """
    fields = sorted(map(str, event))[:20] if isinstance(event, dict) else type(event).__name__
    message = f"this event isn't one that the function reads, so nothing was done; it reads {wanted}"
    logger.error("an event that the function doesn't read", fields=fields, wanted=wanted)
    return {"message": message}


def api_gateway_refusal(event: object) -> dict[str, Any] | None:
    """Return the answer to an event that isn't a REST API's, else None."""
    read = event if isinstance(event, dict) else {}
    texts = (read.get(name) for name in ("resource", "httpMethod", "path"))
    if all(isinstance(text, str) for text in texts) and isinstance(read.get("requestContext"), dict):
        return None
    return {"statusCode": 400, **refusal(event, "a request of API Gateway's REST API, as in events/apigateway-*.json")}
