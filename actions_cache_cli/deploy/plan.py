"""Says in words what a deploy will create, change and cost; it asks nothing."""

import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from actions_cache.cost import Saving, total
from actions_cache_cli.aws import DeployedStack, Quotas
from actions_cache_cli.deploy.questions import ANY, EMAIL, NONE, budget_bytes, storage_usd
from actions_cache_cli.terminal import CannotStart
from dev.cost.cost import idle_month, storage_a_month, terabyte_saved, transfer_out
from dev.local.template import Template

KINDS = {
    "AWS::CloudFront::Distribution": ("CloudFront distribution", "what runners talk to"),
    "AWS::CloudFront::Function": ("function", "at CloudFront's edge"),
    "AWS::CloudFront::KeyValueStore": ("store of keys and values", "at the edge, for the secret that checks URLs"),
    "AWS::CloudFront::OriginAccessControl": ("policy", "of the distribution"),
    "AWS::CloudFront::OriginRequestPolicy": ("policy", "of the distribution"),
    "AWS::CloudFront::ResponseHeadersPolicy": ("policy", "of the distribution"),
    "AWS::ApiGateway::RestApi": ("REST API", "behind the distribution"),
    "AWS::ApiGateway::Deployment": ("REST API", None),
    "AWS::ApiGateway::Stage": ("REST API", None),
    "AWS::Lambda::Function": ("Lambda function", ""),
    "AWS::Lambda::LayerVersion": ("Lambda layer", "the code that functions share"),
    "AWS::Lambda::EventSourceMapping": ("Lambda function", None),
    "AWS::Lambda::EventInvokeConfig": ("Lambda function", None),
    "AWS::Lambda::Permission": ("Lambda function", None),
    "AWS::S3::Bucket": ("S3 bucket", "for saved entries; kept when the stack is deleted"),
    "AWS::S3::BucketPolicy": ("S3 bucket", None),
    "AWS::DynamoDB::Table": ("DynamoDB table", "paid by the request; kept when the stack is deleted"),
    "AWS::SQS::Queue": ("SQS queue", "for merges, and for those that failed"),
    "AWS::SecretsManager::Secret": ("secret", "one signs URLs, one is the administrator's token"),
    "AWS::IAM::Role": ("IAM role", "each with the permissions of its function and nothing else"),
    "AWS::Scheduler::Schedule": ("schedule", "they clean up, and rotate the secret"),
    "AWS::Logs::LogGroup": ("log group", ""),
    "AWS::CloudWatch::Alarm": ("alarm", "in CloudWatch"),
    "AWS::CloudWatch::Dashboard": ("dashboard", "in CloudWatch"),
    "AWS::SNS::Topic": ("SNS topic", "which e-mails the alarms"),
    "Custom::EdgeSecrets": ("Lambda function", None),
}
"""Maps each resource type to its name and its purpose; the purpose is None for a part of another resource."""

PLURALS = {"store of keys and values": "stores of keys and values", "policy": "policies"}

FEW_AT_ONCE = 100
"""Concurrent Lambda calls that a matrix of jobs may make; new accounts have 10."""
LARGE_MEMORY = 3008
"""Most MB that new accounts may give a function, which no API tells."""

IS_CREATED = "create"
IS_UPDATED = "update"


class CannotDeploy(CannotStart):
    """Raised if a stack is in a state that no deploy gets out of; the message says what does."""


def what_happens(name: str, stack: DeployedStack | None) -> tuple[str, bool]:
    """Say whether the stack is created or updated, and whether a failed one has to go first.

    Raises:
        CannotDeploy: Neither can be.
    """
    if stack is None:
        return IS_CREATED, False
    if not {"TokenIssuers", "UnusedEntrySeconds"} <= stack.parameters.keys():
        raise CannotDeploy(f"there is a stack {name} already, and it isn't one of this project: choose another name")
    match stack.status:
        case "REVIEW_IN_PROGRESS":
            return IS_CREATED, False
        case status if status.endswith("_IN_PROGRESS"):
            raise CannotDeploy(
                f"CloudFormation is at work on {name} ({status}): wait until it has ended, and try again"
            )
        case "ROLLBACK_COMPLETE" | "CREATE_FAILED" | "ROLLBACK_FAILED":
            return IS_CREATED, True
        case "UPDATE_ROLLBACK_FAILED":
            raise CannotDeploy(
                f"an update of {name} failed, and so did its rollback ({stack.reason or 'no reason given'}): fix "
                f"what that names, then `aws cloudformation continue-update-rollback --stack-name {name}`"
            )
        case "DELETE_FAILED":
            raise CannotDeploy(
                f"{name} was to be deleted, and that failed ({stack.reason or 'no reason given'}): delete it in "
                "CloudFormation's console, which offers to keep what can't be deleted, or choose another name"
            )
        case _:
            return IS_UPDATED, False


def present(made: Mapping[str, Mapping[str, Any]], template: Template) -> Counter[str]:
    """Count the resources of each type that there will be, with the template's parameters at their defaults."""
    return Counter(
        row["type"] for row in made.values() if row["condition"] is None or template.condition(row["condition"])
    )


def in_words(types: Mapping[str, int]) -> list[str]:
    """Name what is created by kind; parts of a thing aren't counted beside it."""
    counts: Counter[str] = Counter()
    purposes: dict[str, str] = {}
    for kind, count in types.items():
        what, purpose = KINDS.get(kind, (kind, ""))
        if purpose is None:
            continue
        counts[what] += count
        purposes.setdefault(what, purpose)
    order = list(dict.fromkeys(what for what, _ in KINDS.values()))
    named = sorted(counts, key=lambda what: order.index(what) if what in order else len(order))
    return [f"{plural(counts[what], what)}{f': {purposes[what]}' if purposes[what] else ''}" for what in named]


def plural(count: int, what: str) -> str:
    if count == 1 or "::" in what:
        return f"{count} {what}"
    return f"{count} {PLURALS.get(what, f'{what}s')}"


def costs(template: Template, budget: str) -> list[str]:
    """Say what an idle month and a terabyte cost, from the tables of `make cost`."""
    saving = Saving()
    kept, elsewhere = total(storage_a_month(saving)), transfer_out(saving, outside_aws=True).usd / saving.restores
    lines = [
        f"idle: ${total(idle_month(template)):,.2f} a month, of which AWS's free tiers cover more than half",
        f"a terabyte saved: ${total(terabyte_saved(saving)):,.2f}, and ${kept:,.2f} for each month it is kept",
        f"a terabyte restored: $0 to runners in the region, ${elsewhere:,.0f} to runners elsewhere",
    ]
    if budget != NONE:
        lines.append(f"storage, when all of {budget} GiB is used: ${storage_usd(budget):,.2f} a month")
    return lines


def parameters(answers: Mapping[str, str], claims: str, extra: Mapping[str, str]) -> dict[str, str]:
    """Return the template's parameters as the answers set them; the rest keeps its default."""
    alarms = answers["alarms"]
    is_email = EMAIL.fullmatch(alarms) is not None
    has_domain = answers["domain"] != NONE
    return dict(extra) | {
        "Architecture": answers["architecture"],
        "TokenClaims": claims,
        "StoreBudgetBytes": str(budget_bytes(answers["budget_gib"])),
        "DomainName": answers["domain"] if has_domain else "",
        "CertificateArn": answers["certificate"] if has_domain else "",
        "AlarmEmail": alarms if is_email else "",
        "AlarmTopicArn": alarms if alarms != NONE and not is_email else "",
    }


def parameter_errors(template: Template, chosen: Mapping[str, str]) -> list[str]:
    """Say what CloudFormation would refuse, before anything is built."""
    declared = template.body["Parameters"]
    return [
        error
        for name, value in chosen.items()
        if (error := _error(name, value, declared[name]) if name in declared else f"template.yaml has no {name}")
    ]


def _error(name: str, value: str, declared: Mapping[str, Any]) -> str:
    if declared["Type"] == "Number":
        low, high = declared.get("MinValue", -math.inf), declared.get("MaxValue", math.inf)
        if not (value.isascii() and value.isdecimal() and low <= int(value) <= high):
            most = "" if high == math.inf else f" and at most {high}"
            return f'{name} can\'t be "{value}": say a number of at least {low}{most}'
    allowed = [str(one) for one in declared.get("AllowedValues", ())]
    if allowed and value not in allowed:
        return f'{name} can\'t be "{value}": say one of {", ".join(allowed)}'
    pattern = declared.get("AllowedPattern")
    if pattern is not None and re.fullmatch(pattern, value) is None:
        return f'{name} can\'t be "{value}": {declared.get("ConstraintDescription", pattern)}'
    return ""


def changes(stack: DeployedStack, chosen: Mapping[str, str], defaults: Mapping[str, Any]) -> list[str]:
    """Say which parameters an update changes; one that isn't chosen returns to its default."""
    wanted = {name: str(row.get("Default", "")) for name, row in defaults.items()} | dict(chosen)
    lines = []
    for name, value in wanted.items():
        was = stack.parameters.get(name)
        if was is None:
            lines.append(f'{name} is new: "{value}"')
        elif was != value:
            lines.append(f'{name}: "{was}" becomes "{value}"')
    return lines + [f"{name} goes" for name in stack.parameters if name not in wanted]


def differences(now: Mapping[str, int], then: Mapping[str, int]) -> list[str]:
    """Say what an update adds and removes, by kind."""
    added, removed = Counter(then) - Counter(now), Counter(now) - Counter(then)
    return [f"adds {line}" for line in in_words(added)] + [f"removes {line}" for line in in_words(removed)]


def notes(quotas: Quotas | None, template: Template, whose: str) -> list[str]:
    """Say which limits of the account may be too small, and which of them can't be asked for."""
    lines = []
    if quotas is not None and quotas.unreserved < FEW_AT_ONCE:
        lines.append(
            f"Lambda may run {quotas.concurrent} functions at once in this account and region, of which "
            f"{quotas.unreserved} are free: many jobs at once have to retry. Ask for more in Service Quotas "
            "(Lambda, Concurrent executions; it is free)"
        )
    largest = max(int(template.resolve(function["MemorySize"])) for function in template.functions.values())
    if largest > LARGE_MEMORY:
        lines.append(
            f"a function needs {largest} MB of memory, and new accounts have at most {LARGE_MEMORY}: if the deploy "
            "fails for that, ask AWS's support for more"
        )
    lines.append(
        "CloudFront may refuse a new account until AWS has verified it, which can't be checked beforehand: if the "
        "deploy says so, write to AWS's support, then run this again"
    )
    if whose == ANY:
        lines.append("everybody on github.com may use it, at your cost")
    return lines


def identity_words(arn: str) -> str:
    return arn.rpartition(":")[2]


def next_steps(outputs: Mapping[str, str], region: str, stack: str, *, domain: str, is_pointed: bool) -> list[str]:
    """Say what to do with what was made: runners, page, token."""
    url = outputs["RunnerUrl"]
    token = (
        f"aws secretsmanager get-secret-value --region {region} --secret-id {outputs['AdminSecretArn']} "
        "--query SecretString --output text"
    )
    lines = []
    if domain != NONE and not is_pointed:
        lines += [
            f"First point {domain} at it: a CNAME record (or an alias) to {outputs['EdgeDomainName']}",
            "",
        ]
    return [
        *lines,
        f"The runner's URL: {url}",
        "",
        "On each runner, as root, copy runners/hook.cjs and runners/hook-requests.cjs to /opt,",
        "and put this line into /opt/hook.json:",
        "",
        f'{{"url": "{url}"}}',
        "",
        "Then put this line into the runner's .env, and restart it:",
        "",
        "NODE_OPTIONS=--require /opt/hook.cjs",
        "",
        f"Then ask the doctor there: python3 doctor.pyz --url {url} (docs/use/runners.md has it, and other ways)",
        "To try it on any runner, a GitHub-hosted one too, copy two steps into a workflow: docs/use/workflow.md",
        "",
        f"The page that shows entries and activity: {url}",
        "Its token:",
        "",
        token,
        "",
        f"To remove it: sam delete --stack-name {stack} --region {region} (docs/deploy/deploy.md says what stays)",
    ]
