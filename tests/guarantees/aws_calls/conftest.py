"""Provides an environment in which one call of AWS meets a fault."""

from collections.abc import Iterator

import boto3
import pytest

from dev.local.template import Template
from tests.guarantees.aws_calls.environment import Environment, moto_environment


@pytest.fixture(scope="module")
def environment(template: Template, boto_session: boto3.Session) -> Iterator[Environment]:
    with moto_environment(template, boto_session) as made:
        yield made
