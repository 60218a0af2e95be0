"""Runs the functions on an AWS that is meaner than the engines."""

from collections.abc import Iterator

import boto3
import pytest

from dev.local.template import Template
from tests.guarantees.aws_calls.environment import World, world_on_moto


@pytest.fixture(scope="module")
def world(template: Template, boto_session: boto3.Session) -> Iterator[World]:
    with world_on_moto(template, boto_session) as world:
        yield world
