"""Structured logs, and the answers to events that a function can't read.

Powertools' logger also takes the lines that the core and the web server log to the standard library.
"""

import json
import logging
import re
from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.logging import utils

REQUEST_ID = "function_request_id"
"""Field of a line that has the request's id, as Powertools names Lambda's."""

LEFT_OUT = "[left out]"

_NAMED_SECRET = re.compile(
    r"""(?P<name>\b(?:sig|X-Amz-Signature|X-Amz-Security-Token|X-Amz-Credential|actions-cache-session)=|"""
    r"""\bBearer\s+(?=\S{8})|\bAuthorization["']?\s*[:=]\s*["']?(?:token|Basic)\s+)[^&\s"'\\<>;]+""",
    re.IGNORECASE,
)
"""Matches a URL's signature, the page's session, and an Authorization header's value (gh sends it as `token`)."""

_MAYBE_TOKEN = re.compile(r"eyJ[\w.-]*", re.ASCII)
"""Matches anything that could belong to a JSON web token. The dots are counted apart: a pattern with them would try
again at each `eyJ` of a text without them, in quadratic time."""


class StreamBroken(Exception):
    """Raised to break a connection after that was logged, so that the web server doesn't log it again."""


def without_secrets(text: str) -> str:
    """Return the text without tokens and signatures. No code logs them, but a traceback might quote a URL."""
    named = _NAMED_SECRET.sub(lambda found: f"{found['name']}{LEFT_OUT}", text)
    return _MAYBE_TOKEN.sub(lambda found: LEFT_OUT if found[0].count(".") > 1 else found[0], named)


def _line(fields: Mapping[str, Any]) -> str:
    """Return a line of ASCII: a key may hold terminal escapes, and the local run's logs are read in a terminal."""
    return without_secrets(json.dumps(fields, default=str, separators=(",", ":")))


# RFC 3339: Lambda takes a line with another kind of time for one of level INFO, and LogLevel=ERROR would drop it.
# https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html
logger = Logger(use_rfc3339=True, json_serializer=_line)


def _is_unlogged(record: logging.LogRecord) -> bool:
    """Return whether a server's record is worth a line: it logs every error of its app, StreamBroken too."""
    return not (record.exc_info and isinstance(record.exc_info[1], StreamBroken))


def adopt(name: str, level: str | None = None) -> None:
    """Give a logger of the standard library, and those below it, this logger's format.

    Args:
        name: the logger's.
        level: level from which it logs; None for this logger's.
    """
    # Powertools passes over a logger that doesn't exist yet.
    logging.getLogger(name)
    utils.copy_config_to_registered_loggers(source_logger=logger, log_level=level, include={name})


adopt("actions_cache")
adopt("functions")
for server in ("uvicorn", "mangum"):
    adopt(server, "WARNING")
for name in ("uvicorn.error", "mangum.http"):
    logging.getLogger(name).addFilter(_is_unlogged)

handled = logger.inject_lambda_context
"""Decorator that puts the request id into a handler's lines."""


def append(**fields: object) -> None:
    """Add fields to every line that this request logs from here on."""
    logger.thread_safe_append_keys(**fields)


def begin(request_id: str) -> None:
    """Begin a request, without the fields of an earlier one."""
    logger.thread_safe_clear_keys()
    append(**{REQUEST_ID: request_id})


def refusal(event: object, wanted: str) -> dict[str, str]:
    """Log an event that a function can't read, and return the answer to it. Nothing else is done.

    Args:
        event: the event as it came. Only the names of its fields are logged, since some of them hold tokens.
        wanted: the event that the function reads, with the file in `events/` that shows it.
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
