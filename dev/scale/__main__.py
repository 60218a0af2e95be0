"""`python -m dev.scale` prints the tables of docs/design/scale.md; with --write it writes them there.

The requests are recorded from the code as it runs on moto; the limits are AWS's, each with its page. Nothing was
measured on AWS.
"""

import argparse
import os
from collections import Counter
from collections.abc import Mapping
from unittest.mock import patch

import boto3
from moto import mock_aws

from dev.bench.environment import table
from dev.clients.driver import CacheDriver
from dev.local.template import ROOT, Template
from dev.scale.limits import LIMITS, SCENARIOS, Scenario
from dev.scale.recording import Asked, record

DOCUMENT = ROOT / "docs" / "design" / "scale.md"
BEGIN, END = "<!-- written by: python -m dev.scale --write -->\n", "<!-- end -->\n"
SHOWN = 8
"""Limits of each scenario, the first ones."""


def asked_by_flows() -> Mapping[str, Asked]:
    """Record each flow on moto."""
    keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}
    with patch.dict(os.environ, keys), mock_aws():
        return record(CacheDriver.create(Template.load(), boto3.Session()))


def tables(asked: Mapping[str, Asked]) -> str:
    """Return all of the page that is computed."""
    return "\n\n".join([_recorded(asked), *(_of(scenario, asked) for scenario in SCENARIOS)]) + "\n"


def _recorded(asked: Mapping[str, Asked]) -> str:
    """Return what each flow asks of each service."""
    rows = [(flow, _listed(of_flow.requests), _listed(of_flow.units)) for flow, of_flow in asked.items()]
    columns = ("flow", "requests", "DynamoDB's units by partition")
    return "## What each flow asks\n\n" + table(columns, rows)


def _listed(amounts: Counter[str]) -> str:
    return "; ".join(f"{number:g} {what}" for what, number in sorted(amounts.items()))


def _of(scenario: Scenario, asked: Mapping[str, Asked]) -> str:
    """Return the limits that the scenario meets, first the first."""
    demands = sorted(
        ((scenario.demand(limit, asked) / limit.a_second, limit) for limit in LIMITS), key=lambda it: -it[0]
    )
    rows = [
        (
            limit.what,
            f"{limit.a_second:,.3g}" if limit.a_second < 100 else f"{limit.a_second:,.0f}",
            f"{share * limit.a_second:,.1f}",
            f"{share:.0%}",
            f"{scenario.runners / share:,.0f}",
            "[settings](../deploy/deploy.md#parameters)" if limit.source == "setting" else f"[AWS]({limit.source})",
        )
        for share, limit in demands[:SHOWN]
        if share
    ]
    columns = ("limit", "a second", "asked a second", "share", "ends at so many runners", "source")
    return f"## {scenario.what}\n\n" + table(columns, rows)


def documented(document: str, computed: str) -> str:
    """Return the document with its computed part replaced."""
    before, _, rest = document.partition(BEGIN)
    return before + BEGIN + "\n" + computed + "\n" + END + rest.partition(END)[2]


def main() -> None:
    parser = argparse.ArgumentParser(prog="scale")
    parser.add_argument("--write", action="store_true", help="into docs/design/scale.md")
    options = parser.parse_args()
    computed = tables(asked_by_flows())
    if options.write:
        DOCUMENT.write_text(documented(DOCUMENT.read_text(), computed))
    else:
        print(computed)


if __name__ == "__main__":
    main()
