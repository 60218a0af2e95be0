"""The same jobs as in tests/integration/hook."""

from tests.integration.hook.conftest import github, hook, job, memory, ours, temporary, variables

__all__ = ["github", "hook", "job", "memory", "ours", "temporary", "variables"]
