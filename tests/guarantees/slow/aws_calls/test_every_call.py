"""Every call of every step meets every kind of answer that AWS gives."""

import boto3
import pytest

from dev.local.template import Template
from tests.guarantees.aws_calls.cells import calls_of, cells_of, strike, warm_up
from tests.guarantees.aws_calls.environment import world_on_moto
from tests.guarantees.aws_calls.steps import STEPS, Step


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("step", STEPS, ids=str)
def test_a_step_survives_each_answer_to_each_of_its_calls(template: Template, boto_session: boto3.Session, step: Step):
    with world_on_moto(template, boto_session) as world:
        warm_up(world)
        failed: dict[str, str] = {}
        for cell in cells_of(step, calls_of(world, step)):
            try:
                strike(world, cell)
            except (AssertionError, pytest.fail.Exception) as fault:
                failed[str(cell)] = str(fault)[:500]
                world.unexpected.clear()
        assert not failed, "\n".join(f"{cell}: {fault}" for cell, fault in failed.items())
        world.check()
