"""A plugin for the modules of tests that kill."""

from collections.abc import Iterator

import boto3
import pytest

from dev.local.emulators import Endpoints
from dev.local.template import Template
from tests.guarantees.crashes.world import World, world_on


@pytest.fixture(scope="module")
def world_of_the_module(
    endpoints: Endpoints,
    engine_session: boto3.Session,
    template: Template,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[World]:
    """One set of resources, and one witness."""
    with world_on(endpoints, engine_session, template, tmp_path_factory.mktemp("kills")) as world:
        yield world


@pytest.fixture
def world(world_of_the_module: World) -> Iterator[World]:
    """Empty."""
    yield world_of_the_module
    world_of_the_module.empty()
