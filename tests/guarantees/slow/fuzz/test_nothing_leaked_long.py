"""Nothing leaks, at random and at length: tests/guarantees/test_nothing_leaked.py with many more runs."""

import boto3
import pytest
from hypothesis import Phase

from dev.local.template import Template
from tests.guarantees.test_nothing_leaked import check_runs

EXAMPLES = 100


@pytest.mark.timeout(1800)
def test_after_many_runs_no_object_is_missing_and_a_day_later_none_is_left_over(
    template: Template, boto_session: boto3.Session
):
    check_runs(template, boto_session, EXAMPLES, Phase.shrink)
