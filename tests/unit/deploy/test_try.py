"""A try's ceiling, issuer, counting and results, without AWS; tests/aws/deploy/test_try.py rehearses it whole."""

import json
from dataclasses import replace
from typing import Any

import jwt
import pytest
import yaml

from actions_cache.cost import PRICES, total
from actions_cache_cli.deployment_check.__main__ import TRAFFIC_BYTES
from actions_cache_cli.try_on_aws.bench import (
    HOURS,
    SAFETY,
    Measured,
    Meter,
    OverCeiling,
    Sizes,
    TooMuch,
    ceiling_usd,
    check,
    lines,
)
from actions_cache_cli.try_on_aws.report import Result, counted_usd, markdown
from actions_cache_cli.try_on_aws.throwaway import PREFIX, ThrowawayIssuer
from dev.local.template import ROOT, Template
from tests.unit.template.declared import accepts

MIB = 1024 * 1024
USUAL = Sizes()


def test_default_try_costs_less_than_a_dollar(template: Template) -> None:
    assert 0.1 < check(USUAL, template, 1.0) < 1.0


def test_ceiling_contains_all_bytes(template: Template) -> None:
    by_price: dict[str, float] = {}
    for line in lines(USUAL, template):
        by_price[line.price] = by_price.get(line.price, 0) + line.quantity
    assert by_price["CloudFront to origin"] * 1e9 >= USUAL.uploaded == 3 * 128 * MIB + TRAFFIC_BYTES
    assert by_price["S3 to internet"] * 1e9 >= USUAL.downloaded == 3 * 4 * 128 * MIB + TRAFFIC_BYTES
    assert by_price["API Gateway"] >= USUAL.requests - 3 * (USUAL.restores * 9 + 4)
    assert by_price["Alarm"] == len(template.of_type("AWS::CloudWatch::Alarm")) * HOURS / 730


def test_ceiling_is_the_cost_with_a_margin(template: Template) -> None:
    usd = ceiling_usd(USUAL, template)
    assert usd == pytest.approx(SAFETY * total(lines(USUAL, template)))
    assert check(USUAL, template, usd) == usd
    with pytest.raises(TooMuch, match=r"may cost \$.*MAX_USD is .*fewer ENTRIES"):
        check(USUAL, template, usd - 0.001)


@pytest.mark.parametrize("larger", [{"entries": 30}, {"entry_mib": 1280}, {"block_mib": 1}])
def test_larger_sizes_cost_more(template: Template, larger: dict[str, int]) -> None:
    assert ceiling_usd(replace(USUAL, **larger), template) > ceiling_usd(USUAL, template)


@pytest.mark.parametrize("wrong", [{"entries": 0}, {"entries": 1001}, {"entry_mib": 2049}, {"block_mib": 129}])
def test_sizes_have_bounds(wrong: dict[str, int]) -> None:
    with pytest.raises(TooMuch, match="ENTRIES from 1 to 1000"):
        replace(USUAL, **wrong)
    assert Sizes(1, 11, 5).blocks == [5 * MIB, 5 * MIB, MIB]
    assert Sizes(1, 4, 5).blocks == [4 * MIB]


def test_no_request_exceeds_the_ceiling() -> None:
    meter = Meter(most_requests=2, most_sent=10, most_received=10)
    meter.count(sent=10)
    meter.count(received=10)
    with pytest.raises(OverCeiling, match="stopped at 3 requests"):
        meter.count()
    for over in ({"sent": 11}, {"received": 11}):
        with pytest.raises(OverCeiling):
            Meter(most_requests=2, most_sent=10, most_received=10).count(**over)


def test_token_verifies_with_the_served_key(template: Template) -> None:
    issuer, url = ThrowawayIssuer(), "https://0123456789.execute-api.us-east-1.amazonaws.com/v1"
    [method] = [row for row in issuer.template()["Resources"].values() if row["Type"] == "AWS::ApiGateway::Method"]
    [answer] = method["Properties"]["Integration"]["IntegrationResponses"]
    served = answer["ResponseTemplates"]["application/json"]
    assert not set(served) & {"$", "#"}, "API Gateway would read them as its template language"
    [key] = json.loads(served)["keys"]
    assert "d" not in key, "the private half stays here"
    claims = jwt.decode(issuer.token(url), jwt.PyJWK(key).key, algorithms=["RS256"])
    assert claims["iss"] == url
    assert issuer.claims(url) == f"repository_id={claims['repository_id']}@{url}"
    assert accepts(template, "TokenClaims", issuer.claims(url))
    assert accepts(template, "TokenIssuers", url)
    other = ThrowawayIssuer()
    assert (other.key_set == issuer.key_set, other.repository == issuer.repository) == (False, False)


CHECKS: list[dict[str, Any]] = [
    {"outcome": "ok", "title": "the URL is one", "detail": "https://x/ | <b> @everyone"},
    {"outcome": "skip", "title": "a domain", "detail": "role arn:aws:iam::123456789012:role/x"},
]
GOOD = Result(
    "us-east-1",
    "arm64",
    "1.0.0",
    "2026-12-01",
    USUAL,
    0.5,
    CHECKS,
    Measured([2.0, 4.0], [1.0], {1: [4.0], 8: [1.0]}, [1.5], [0.1]),
    Meter(10**6, 10**12, 10**12, 1000, 10**9, 10**10),
    180.0,
)


def test_results_show_the_measurements() -> None:
    text = markdown(GOOD)
    assert "everything that was tried works" in text
    for row in (
        "| save, 4 blocks at once | 3.00 s, 43 MiB/s (median of 2; 2.00 to 4.00) |",
        "| restore from S3, 8 connections | 1.00 s, 128 MiB/s (median of 1; 1.00 to 1.00) |",
        "| lookup by a function that has to start | 1.50 s (median of 1; 1.50 to 1.50) |",
        "| deploy, until CloudFront has it | 180 s |",
        "1 ok, 0 failed, 1 skipped",
        "https://x/ \\| &lt;b> @\u200beveryone",
    ):
        assert row in text, row
    assert "123456789012" not in text


def test_cost_is_of_the_counted_requests() -> None:
    assert GOOD.meter is not None
    bytes_usd = PRICES["CloudFront to origin"].of(1) + PRICES["S3 to internet"].of(10)
    calls_usd = PRICES["API Gateway"].of(1000) + PRICES["CloudFront request"].of(1000)
    assert counted_usd(GOOD.meter, USUAL, None) == pytest.approx(bytes_usd + calls_usd)
    assert counted_usd(GOOD.meter, USUAL, GOOD.measured) > bytes_usd + calls_usd


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"errors": ["the deploy failed"]}, "- the deploy failed"),
        ({"left": ["table x: denied"]}, "**Not deleted, and to be deleted by hand:**\n\n- table x: denied"),
        ({"checks": [{"outcome": "FAIL", "title": "t", "detail": "d"}]}, "1 checks failed"),
        ({"checks": ()}, "it didn't end well"),
        ({"measured": None}, "it didn't end well"),
    ],
)
def test_errors_come_first(changes: dict[str, Any], said: str) -> None:
    result = replace(GOOD, **changes)
    assert not result.is_good
    assert said in markdown(result)
    assert "works" not in markdown(result).split("\n", maxsplit=1)[0]


WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "try-on-aws.yml").read_text())
[JOB] = WORKFLOW["jobs"].values()
STEPS = JOB["steps"]


def test_workflow_cleans_up_after_cancellation() -> None:
    last = STEPS[-1]
    assert last["if"] == "always()"
    assert last["run"] == f'make --silent try-on-aws CLEAN="{PREFIX}$TRY_SUFFIX"'
