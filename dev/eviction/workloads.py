"""Made-up weeks of three repositories' jobs, always the same for the same seed.

Sizes, rates and keys aren't anybody's, but shaped as in public workflows: a cache of dependencies whose key is a lock
file's digest, and one of build outputs that each commit saves anew and finds by the beginning of its key.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from actions_cache.domain.timing import DAY, SECOND, Millis

MAIN = "refs/heads/main"
MB = 10**6
HOUR: Millis = 3600 * SECOND
WEEKS = 4


@dataclass(frozen=True, slots=True, order=True)
class Step:
    """A job's cache step: it restores, and unless it finds its very key, it saves.

    Args:
        at: when it runs.
        scopes: those of the job's token, its own ref first.
        key: the key that it looks for and would save.
        restore_key: beginning of keys that it takes instead; empty for none.
        size: bytes that it would save.
    """

    at: Millis
    scopes: tuple[str, ...]
    key: str
    restore_key: str
    size: int

    @property
    def is_main(self) -> bool:
        return self.scopes == (MAIN,)


@dataclass
class Project:
    """The parts of a repository, each with a lock file, and commits that touch some of them."""

    dice: random.Random
    parts: int
    deps_mb: tuple[int, int]
    build_mb: tuple[int, int]
    lock_days: float
    """Days between two changes of a part's lock file."""
    skew: float = 0.25
    """How much less often each further part is touched; 0 for all alike."""
    _commits: int = 0

    def touched(self, most: int) -> list[int]:
        """Return the parts that a change touches, the first ones more often than the last."""
        weights = [1 / (1 + self.skew * part) for part in range(self.parts)]
        return sorted({*self.dice.choices(range(self.parts), weights, k=self.dice.randint(1, most))})

    def lock(self, part: int, at: Millis) -> int:
        """Return the number of the part's lock file on main."""
        return int(at / (self.lock_days * DAY) + part / self.parts)

    def run(self, at: Millis, scopes: tuple[str, ...], parts: list[int], *, own_lock: str = "") -> Iterator[Step]:
        """Yield the steps of one workflow run.

        Args:
            at: when it begins.
            scopes: those of its token.
            parts: the parts that it builds.
            own_lock: distinguishes a lock file that only this ref has.
        """
        self._commits += 1
        for part in parts:
            deps = f"deps-{part}-{self.lock(part, at)}{own_lock}"
            yield Step(at, scopes, deps, "", self._size(part, self.deps_mb))
            build = f"build-{part}-{self._commits}"
            yield Step(at + 1, scopes, build, f"build-{part}-", self._size(part, self.build_mb))

    def _size(self, part: int, bounds: tuple[int, int]) -> int:
        """Return the bytes of a part's entries: the sizes are spread evenly between the bounds, in no order."""
        least, most = bounds
        return (least + (most - least) * (7 * part % self.parts) // self.parts) * MB


def _office_hours(dice: random.Random, a_day: int) -> Iterator[Millis]:
    """Yield times of four weeks' workdays, so many a day."""
    for day in range(7 * WEEKS):
        if day % 7 < 5:
            yield from (day * DAY + int(dice.uniform(8, 18) * HOUR) for _ in range(a_day))


def pull_requests(seed: int) -> list[Step]:
    """Return the jobs of a repository with a merge queue, whose pull requests save most of what it keeps."""
    dice = random.Random(seed)  # noqa: S311 - a simulation
    project = Project(dice, parts=18, deps_mb=(160, 360), build_mb=(60, 120), lock_days=14)
    steps: list[Step] = []
    for number, opened in enumerate(_office_hours(dice, 33)):
        parts, ref = project.touched(3), f"refs/pull/{number}/merge"
        own_lock = f"-{number}" if dice.random() < 0.25 else ""
        at = opened
        for _ in range(dice.randint(1, 5)):
            steps += project.run(at, (ref, MAIN), parts, own_lock=own_lock)
            at += int(dice.uniform(0.3, 5) * HOUR)
        if dice.random() < 0.7:
            queue = f"refs/heads/gh-readonly-queue/main/pr-{number}-{dice.getrandbits(64):016x}"
            steps += project.run(at, (queue, MAIN), parts, own_lock=own_lock)
            steps += project.run(at + HOUR // 2, (MAIN,), parts)
    for day in range(7 * WEEKS):
        steps += project.run(day * DAY + 2 * HOUR, (MAIN,), [*range(project.parts)])
    return sorted(steps)


def huge_entries(seed: int) -> list[Step]:
    """Return the jobs of a repository with few long-lived branches, whose entries are a fifth of the budget each."""
    dice = random.Random(seed)  # noqa: S311 - a simulation
    project = Project(dice, parts=2, deps_mb=(900, 1_400), build_mb=(1_300, 1_900), lock_days=10)
    steps: list[Step] = []
    branches = ["refs/heads/develop", "refs/heads/release"]
    for at in _office_hours(dice, 8):
        ref = dice.choices([MAIN, *branches], [4, 3, 1])[0]
        scopes = (MAIN,) if ref == MAIN else (ref, MAIN)
        steps += project.run(at, scopes, project.touched(2))
    return sorted(steps)


def short_branches(seed: int) -> list[Step]:
    """Return the jobs of a repository that builds each push to its many branches, and has no pull requests."""
    dice = random.Random(seed)  # noqa: S311 - a simulation
    project = Project(dice, parts=8, deps_mb=(150, 350), build_mb=(60, 180), lock_days=14)
    steps: list[Step] = []
    for number, at in enumerate(_office_hours(dice, 22)):
        parts, ref = project.touched(2), f"refs/heads/feature-{number}"
        for _ in range(dice.randint(1, 6)):
            steps += project.run(at, (ref, MAIN), parts)
            at += int(dice.uniform(0.2, 8) * HOUR)  # noqa: PLW2901 - the branch's next push
        steps += project.run(at, (MAIN,), parts)
    return sorted(steps)


WORKLOADS: dict[str, Callable[[int], list[Step]]] = {
    "pull requests and a merge queue": pull_requests,
    "few branches, huge entries": huge_entries,
    "many short branches": short_branches,
}
