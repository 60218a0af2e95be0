"""Tests what a deploy says that it will make, change and cost, and which stacks it can't update."""

import re
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from actions_cache.cost import Saving, total
from actions_cache_cli.aws import DeployedStack, Quotas
from actions_cache_cli.deploy import plan
from dev.cost.cost import idle_month, terabyte_saved
from dev.local.template import Template

OURS = DeployedStack("UPDATE_COMPLETE", "", {"TokenIssuers": "x", "UnusedEntrySeconds": "604800"}, {}, {})
ANSWERS = {
    "region": "us-east-1",
    "stack": "cache",
    "whose_jobs": "octo-org",
    "budget_gib": "100",
    "domain": "none",
    "alarms": "none",
    "architecture": "arm64",
}


HAPPENS = {
    **dict.fromkeys(("CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE"), (plan.IS_UPDATED, False)),
    "UPDATE_ROLLBACK_COMPLETE": (plan.IS_UPDATED, False),
    "REVIEW_IN_PROGRESS": (plan.IS_CREATED, False),
    **dict.fromkeys(("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED"), (plan.IS_CREATED, True)),
}
"""What happens, and whether the stack there goes first, by the status of that stack."""


def test_stack_is_created_updated_or_replaced() -> None:
    assert {it: plan.what_happens("cache", replace(OURS, status=it)) for it in HAPPENS} == HAPPENS
    assert plan.what_happens("cache", None) == (plan.IS_CREATED, False)
    with pytest.raises(plan.CannotDeploy, match="isn't one of this project"):
        plan.what_happens("cache", replace(OURS, parameters={"Vpc": "x"}))


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("CREATE_IN_PROGRESS", "wait until it has ended"),
        ("UPDATE_ROLLBACK_IN_PROGRESS", "wait until it has ended"),
        ("DELETE_IN_PROGRESS", "wait until it has ended"),
        ("UPDATE_ROLLBACK_FAILED", "continue-update-rollback --stack-name cache"),
        ("DELETE_FAILED", "bucket not empty.*choose another name"),
    ],
)
def test_stuck_stack_says_what_helps(status: str, said: str) -> None:
    with pytest.raises(plan.CannotDeploy, match=said):
        plan.what_happens("cache", replace(OURS, status=status, reason="bucket not empty"))


def test_resources_are_named_without_their_parts(template: Template) -> None:
    made: dict[str, dict[str, Any]] = {"A": {"type": "AWS::DynamoDB::Table"}, "B": {"type": "AWS::S3::BucketPolicy"}}
    made |= {"C": {"type": "AWS::DynamoDB::Table"}, "D": {"type": "AWS::CloudWatch::Dashboard"}, "E": {"type": "X::Y"}}
    conditions = {"D": "HasDashboard"}
    resources: dict[str, Any] = {name: {"condition": conditions.get(name)} | item for name, item in made.items()}
    assert plan.in_words(plan.present(resources, template)) == [
        "2 DynamoDB tables: paid by the request; kept when the stack is deleted",
        "1 X::Y",
    ]
    with_dashboard = plan.present(resources, template.with_parameters(Dashboard="true"))
    assert "1 dashboard: in CloudWatch" in plan.in_words(with_dashboard)


def test_each_resource_type_has_a_name(template: Template) -> None:
    types = {row["Type"] for row in template.body["Resources"].values()}
    sams = {"AWS::Serverless::Function", "AWS::Serverless::Api", "AWS::Serverless::LayerVersion"}
    assert types - sams <= set(plan.KINDS)


def test_costs_match_the_cost_tables(template: Template) -> None:
    said = "\n".join(plan.costs(template, "100"))
    assert f"idle: ${total(idle_month(template)):.2f} a month" in said
    assert f"a terabyte saved: ${total(terabyte_saved(Saving())):.2f}" in said
    assert "all of 100 GiB is used: $2.47" in said
    assert "is used" not in "\n".join(plan.costs(template, "none"))
    with_dashboard = plan.costs(template.with_parameters(Dashboard="true"), "none")[0]
    assert f"${total(idle_month(template)) + 3:.2f}" in with_dashboard


def test_answers_become_valid_parameters(template: Template) -> None:
    arn = "arn:aws:acm:us-east-1:123456789012:certificate/1"
    topic = "arn:aws:sns:us-east-1:123456789012:pager"
    plain = plan.parameters(ANSWERS, "repository_owner_id=9919", {"LogLevel": "WARN"})
    claims = {"TokenClaims": "repository_owner_id=9919", "StoreBudgetBytes": str(100 * 1024**3)}
    unset = dict.fromkeys(("DomainName", "CertificateArn", "AlarmEmail", "AlarmTopicArn"), "")
    assert plain == {"LogLevel": "WARN", "Architecture": "arm64"} | claims | unset
    full = ANSWERS | {"domain": "a.b.c", "certificate": arn, "alarms": "a@b.c", "budget_gib": "none"}
    mailed = plan.parameters(full, "repository_id=1", {})
    assert (mailed["DomainName"], mailed["CertificateArn"], mailed["AlarmEmail"]) == ("a.b.c", arn, "a@b.c")
    assert (mailed["AlarmTopicArn"], mailed["StoreBudgetBytes"]) == ("", "0")
    paged = plan.parameters(ANSWERS | {"alarms": topic}, "repository_id=1", {})
    assert (paged["AlarmTopicArn"], paged["AlarmEmail"]) == (topic, "")
    for chosen in (plain, mailed, paged):
        assert plan.parameter_errors(template, chosen) == []


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("NoSuch", "1", "template.yaml has no NoSuch"),
        ("Dashboard", "maybe", "say one of true, false"),
        ("HttpMemory", "1", "at least 512 and at most 10240"),
        ("HttpMemory", "lots", "say a number"),
        ("HttpMemory", "10241", "at most 10240"),
        ("UnusedEntrySeconds", "3599", "at least 3600$"),
        ("TokenIssuers", "http://x", "One https URL"),
        ("AlarmEmail", "me", "An e-mail address"),
    ],
)
def test_invalid_parameter_is_found_before_the_build(template: Template, name: str, value: str, said: str) -> None:
    [error] = plan.parameter_errors(template, {name: value})
    assert re.search(said, error)


def test_update_shows_its_changes() -> None:
    stack = replace(OURS, parameters={"Kept": "1", "Changed": "2", "Back": "9", "Gone": "3"})
    defaults = {"Kept": {"Default": 0}, "Changed": {"Default": 0}, "Back": {"Default": 5}, "New": {"Default": 6}}
    assert plan.changes(stack, {"Kept": "1", "Changed": "4"}, defaults) == [
        'Changed: "2" becomes "4"',
        'Back: "9" becomes "5"',
        'New is new: "6"',
        "Gone goes",
    ]
    now = Counter({"AWS::CloudWatch::Dashboard": 1, "AWS::DynamoDB::Table": 4})
    then = Counter({"AWS::SNS::Topic": 1, "AWS::DynamoDB::Table": 4})
    assert plan.differences(now, then) == [
        "adds 1 SNS topic: which e-mails the alarms",
        "removes 1 dashboard: in CloudWatch",
    ]


def test_low_concurrency_memory_and_open_access_are_mentioned(template: Template) -> None:
    few, many = (plan.notes(Quotas(count, count), template, "octo-org") for count in (10, 1000))
    assert "Lambda may run 10 functions at once" in few[0]
    assert len(few) == len(many) + 1
    assert "can't be checked" in many[0]
    large = template.with_parameters(MergeMemory="4096")
    assert "needs 4096 MB" in plan.notes(None, large, "octo-org")[0]
    assert "wants" not in "\n".join(plan.notes(None, template, "octo-org"))
    assert "everybody on github.com may use it, at your cost" in plan.notes(None, template, "any")


OUTPUTS = {"RunnerUrl": "https://cache.example.com/", "EdgeDomainName": "d1.cloudfront.net", "AdminSecretArn": "arn:s"}


def test_end_says_what_to_do_next() -> None:
    lines = plan.next_steps(OUTPUTS, "eu-west-1", "cache", domain="none", is_pointed=True)
    text = "\n".join(lines)
    for said in ('{"url": "https://cache.example.com/"}', "NODE_OPTIONS=--require /opt/hook.cjs"):
        assert said in lines
    assert "docs/use/workflow.md" in text
    assert "get-secret-value --region eu-west-1 --secret-id arn:s" in text
    assert "CNAME" not in text
    first = plan.next_steps(OUTPUTS, "eu-west-1", "cache", domain="cache.example.com", is_pointed=False)[0]
    assert first == "First point cache.example.com at it: a CNAME record (or an alias) to d1.cloudfront.net"
