"""Structured logs: Powertools' logger, also for what the core logs by the standard library."""

from aws_lambda_powertools import Logger
from aws_lambda_powertools.logging import utils

logger = Logger()
utils.copy_config_to_registered_loggers(source_logger=logger, include={"actions_cache"})

handled = logger.inject_lambda_context
"""A handler's logs carry its request id."""
