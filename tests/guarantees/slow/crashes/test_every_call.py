"""Whoever dies at whichever of its calls, nothing is stuck, half done, lost or left behind.

A first run of each scenario learns its calls; then each has a run of its own for each thing that can happen there.
"""

from collections.abc import Callable

import pytest

from actions_cache.domain.signing import Phase
from tests.guarantees.crashes.cleaning import TASKS, clean_up
from tests.guarantees.crashes.gate import Call, Point, points
from tests.guarantees.crashes.merging import merge
from tests.guarantees.crashes.poison import kill_every_worker
from tests.guarantees.crashes.rotating import rotate
from tests.guarantees.crashes.saving import save
from tests.guarantees.crashes.world import World

pytest_plugins = ["tests.guarantees.crashes.fixtures"]

Scenario = Callable[[World, Point | None], list[Call]]

pytestmark = pytest.mark.timeout(1800)


def strike_everywhere(world: World, subtests: pytest.Subtests, scenario: Scenario) -> None:
    every = points(scenario(world, None))
    for point in every:
        world.empty()
        with subtests.test(str(point)):
            scenario(world, point)


def test_a_save(world: World, subtests: pytest.Subtests):
    strike_everywhere(world, subtests, lambda world, point: save(world, point).calls)


def test_a_merge(world: World, subtests: pytest.Subtests):
    strike_everywhere(world, subtests, merge)


@pytest.mark.parametrize("task", TASKS)
def test_the_cleanup_of(world: World, subtests: pytest.Subtests, task: str):
    strike_everywhere(world, subtests, lambda world, point: clean_up(world, TASKS[task], point))


def test_a_merge_that_kills_each_of_its_workers(world: World):
    kill_every_worker(world)


@pytest.mark.parametrize("phase", Phase)
def test_a_step_of_the_rotation(world: World, subtests: pytest.Subtests, phase: Phase):
    """Last of all: the witness keeps a ring for five real minutes, and here weeks pass in one."""

    def scenario(world: World, point: Point | None) -> list[Call]:
        return rotate(world, phase, point)

    strike_everywhere(world, subtests, scenario)
