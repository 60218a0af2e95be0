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


@pytest.mark.parametrize(
    ("status", "what", "goes_first"),
    [
        ("CREATE_COMPLETE", plan.IS_UPDATED, False),
        ("UPDATE_COMPLETE", plan.IS_UPDATED, False),
        ("UPDATE_ROLLBACK_COMPLETE", plan.IS_UPDATED, False),
        ("IMPORT_COMPLETE", plan.IS_UPDATED, False),
        ("REVIEW_IN_PROGRESS", plan.IS_CREATED, False),
        ("ROLLBACK_COMPLETE", plan.IS_CREATED, True),
        ("ROLLBACK_FAILED", plan.IS_CREATED, True),
        ("CREATE_FAILED", plan.IS_CREATED, True),
    ],
)
def test_stack_is_created_updated_or_replaced(status: str, what: str, goes_first: bool) -> None:
    assert plan.what_happens("cache", replace(OURS, status=status)) == (what, goes_first)
    assert plan.what_happens("cache", None) == (plan.IS_CREATED, False)


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


def test_foreign_stack_is_left_alone() -> None:
    with pytest.raises(plan.CannotDeploy, match="isn't one of this project"):
        plan.what_happens("cache", replace(OURS, parameters={"Vpc": "x"}))


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
    assert plain == {
        "LogLevel": "WARN",
        "Architecture": "arm64",
        "TokenClaims": "repository_owner_id=9919",
        "StoreBudgetBytes": str(100 * 1024**3),
        "DomainName": "",
        "CertificateArn": "",
        "AlarmEmail": "",
        "AlarmTopicArn": "",
    }
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


def test_template_defaults_are_valid(template: Template) -> None:
    defaults = {name: str(row["Default"]) for name, row in template.body["Parameters"].items() if "Default" in row}
    assert plan.parameter_errors(template, defaults) == []


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


def test_low_concurrency_is_mentioned(template: Template) -> None:
    few, many = (plan.notes(Quotas(count, count), template, "octo-org") for count in (10, 1000))
    assert "Lambda may run 10 functions at once" in few[0]
    assert len(few) == len(many) + 1
    assert "can't be checked" in many[0]


def test_large_memory_is_mentioned(template: Template) -> None:
    large = template.with_parameters(MergeMemory="4096")
    assert "needs 4096 MB" in plan.notes(None, large, "octo-org")[0]
    assert "wants" not in "\n".join(plan.notes(None, template, "octo-org"))


def test_open_access_is_mentioned(template: Template) -> None:
    assert "everybody on github.com may use it, at your cost" in plan.notes(None, template, "any")


OUTPUTS = {"RunnerUrl": "https://cache.example.com/", "EdgeDomainName": "d1.cloudfront.net", "AdminSecretArn": "arn:s"}


def test_end_says_what_to_do_next() -> None:
    lines = plan.next_steps(OUTPUTS, "eu-west-1", "cache", domain="none", is_pointed=True)
    text = "\n".join(lines)
    assert '{"url": "https://cache.example.com/"}' in lines
    assert "NODE_OPTIONS=--require /opt/hook.cjs" in lines
    assert any("docs/use/workflow.md" in line for line in lines)
    assert "get-secret-value --region eu-west-1 --secret-id arn:s" in text
    assert "CNAME" not in text


def test_unpointed_domain_comes_first() -> None:
    first = plan.next_steps(OUTPUTS, "eu-west-1", "cache", domain="cache.example.com", is_pointed=False)[0]
    assert first == "First point cache.example.com at it: a CNAME record (or an alias) to d1.cloudfront.net"
