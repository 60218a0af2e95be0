"""Structured logs: Powertools' logger, also for what the core logs by the standard library."""

import logging

from aws_lambda_powertools import Logger
from aws_lambda_powertools.logging import utils

logger = Logger()
# A name that nobody has asked for yet would be passed over.
logging.getLogger("actions_cache")
utils.copy_config_to_registered_loggers(source_logger=logger, include={"actions_cache"})

handled = logger.inject_lambda_context
"""A handler's logs carry its request id."""
