"""Do before a function's first request what doesn't depend on it."""

import os
from collections.abc import Callable

from actions_cache.logs import logger

BY_LAMBDA = "AWS_LAMBDA_INITIALIZATION_TYPE"
"""Variable of Lambda's runtime alone: https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html."""


def make_at_start(make: Callable[[], object]) -> None:
    """Make what all requests need while Lambda starts the function, before a request waits for it.

    Elsewhere the first request makes it, as a handler may be imported without its environment. If it fails, so does
    each request, which says why.
    """
    if BY_LAMBDA not in os.environ:
        return
    try:
        make()
    except Exception:  # noqa: BLE001 - whatever it is, the requests raise it
        logger.exception("the function couldn't start")
