"""Structured logs: Powertools' logger, also for what the core and the web server log by the standard library."""

import json
import logging
import re
from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.logging import utils

REQUEST_ID = "function_request_id"
"""As Powertools calls Lambda's."""

LEFT_OUT = "[left out]"

_NAMED_SECRET = re.compile(
    r"""(?P<name>\b(?:sig|X-Amz-Signature|X-Amz-Security-Token|X-Amz-Credential|actions-cache-session)=|"""
    r"""\bBearer\s+(?=\S{8})|\bAuthorization["']?\s*[:=]\s*["']?(?:token|Basic)\s+)[^&\s"'\\<>;]+""",
    re.IGNORECASE,
)
"""Matches a URL's signature, the page's session, and an Authorization header's value (gh sends it as `token`)."""

_MAYBE_TOKEN = re.compile(r"eyJ[\w.-]*", re.ASCII)
"""Matches anything that could belong to a JSON web token. Whether it is one is decided apart: a pattern with the dots
would try again at each `eyJ` of a text without them, in quadratic time."""


class StreamBroken(Exception):
    """A stream was broken off on purpose, and that was logged: the web server needn't say it again."""


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


def _is_news(record: logging.LogRecord) -> bool:
    """Whatever an app raises, its server logs; and raising is how an app breaks a connection."""
    return not (record.exc_info and isinstance(record.exc_info[1], StreamBroken))


def adopt(name: str, level: str | None = None) -> None:
    """What the standard library's logger logs, and those below it, come as lines like these."""
    # A name that nobody has asked for yet would be passed over.
    logging.getLogger(name)
    utils.copy_config_to_registered_loggers(source_logger=logger, log_level=level, include={name})


adopt("actions_cache")
adopt("functions")
for server in ("uvicorn", "mangum"):
    adopt(server, "WARNING")
for name in ("uvicorn.error", "mangum.http"):
    logging.getLogger(name).addFilter(_is_news)

handled = logger.inject_lambda_context
"""A handler's logs carry its request id."""


def append(**fields: object) -> None:
    """To every line that this request logs from here on."""
    logger.thread_safe_append_keys(**fields)


def begin(request_id: str) -> None:
    """A request: none of an earlier one's fields is its own."""
    logger.thread_safe_clear_keys()
    append(**{REQUEST_ID: request_id})
