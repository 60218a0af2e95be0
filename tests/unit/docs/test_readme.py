"""The README's figures are what the commands beside them compute."""

import re
from dataclasses import replace

from actions_cache.cost import Saving, total
from dev.cost.cost import idle_month, terabyte_saved, transfer_out
from dev.local.template import ROOT, Template
from dev.scale.__main__ import asked_by_flows
from dev.scale.limits import LIMITS, SCENARIOS

README = (ROOT / "README.md").read_text()


def test_prices_follow_the_cost_tables(template: Template) -> None:
    saving = Saving()
    by_hook = total(terabyte_saved(replace(saving, direct=True)))
    outside = transfer_out(saving, outside_aws=True).usd / saving.restores
    computed = [total(idle_month(template)), by_hook, total(terabyte_saved(saving))]
    assert re.findall(r"\$(\d+\.\d\d)", README) == [f"{usd:.2f}" for usd in computed]
    assert f"${outside:.0f} outside AWS" in README


def test_runners_at_once_follow_the_scale_table() -> None:
    """They are those at which the first limit ends."""
    burst, asked = SCENARIOS[0], asked_by_flows()
    assert burst.seconds == 60
    share, first = max((burst.demand(limit, asked) / limit.a_second, limit.what) for limit in LIMITS)
    assert first.startswith("S3: reads below one prefix")
    assert f"| {round(burst.runners / share, -2):,.0f}, then S3" in README
