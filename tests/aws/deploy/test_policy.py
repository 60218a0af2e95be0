"""Checks what SAM makes of the template: roles have a boundary where one is set, and the deployer's policy suffices.

The emulator holds nobody to a policy, and gives no role its boundary.
"""

import json
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

import pytest

from actions_cache_cli.deploy.steps import Steps
from dev.local.template import ROOT

POLICY = ROOT / "deploy" / "deployer-policy.json"
LONGEST_POLICY = 6144
"""Characters of a managed policy, without white space: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html."""

NEEDED = {
    "AWS::ApiGateway::Deployment": ["apigateway:POST", "apigateway:DELETE"],
    "AWS::ApiGateway::RestApi": ["apigateway:PUT", "apigateway:POST", "apigateway:DELETE"],
    "AWS::ApiGateway::Stage": ["apigateway:POST", "apigateway:PATCH", "apigateway:DELETE"],
    "AWS::CloudFront::Distribution": ["cloudfront:CreateDistribution", "cloudfront:DeleteDistribution"],
    "AWS::CloudFront::Function": [
        "cloudfront:CreateFunction",
        "cloudfront:PublishFunction",
        "cloudfront:DeleteFunction",
    ],
    "AWS::CloudFront::KeyValueStore": ["cloudfront:CreateKeyValueStore", "cloudfront:DeleteKeyValueStore"],
    "AWS::CloudFront::OriginAccessControl": [
        "cloudfront:CreateOriginAccessControl",
        "cloudfront:DeleteOriginAccessControl",
    ],
    "AWS::CloudFront::OriginRequestPolicy": [
        "cloudfront:CreateOriginRequestPolicy",
        "cloudfront:DeleteOriginRequestPolicy",
    ],
    "AWS::CloudFront::ResponseHeadersPolicy": [
        "cloudfront:CreateResponseHeadersPolicy",
        "cloudfront:DeleteResponseHeadersPolicy",
    ],
    "AWS::CloudWatch::Alarm": ["cloudwatch:PutMetricAlarm", "cloudwatch:DeleteAlarms"],
    "AWS::CloudWatch::Dashboard": ["cloudwatch:PutDashboard", "cloudwatch:DeleteDashboards"],
    "AWS::DynamoDB::Table": ["dynamodb:CreateTable", "dynamodb:UpdateContinuousBackups", "dynamodb:UpdateTimeToLive"],
    "AWS::IAM::Role": ["iam:CreateRole", "iam:PutRolePolicy", "iam:PassRole", "iam:DeleteRole"],
    "AWS::Lambda::EventInvokeConfig": ["lambda:PutFunctionEventInvokeConfig", "lambda:DeleteFunctionEventInvokeConfig"],
    "AWS::Lambda::EventSourceMapping": ["lambda:CreateEventSourceMapping", "lambda:DeleteEventSourceMapping"],
    "AWS::Lambda::Function": ["lambda:CreateFunction", "lambda:UpdateFunctionCode", "lambda:InvokeFunction"],
    "AWS::Lambda::LayerVersion": ["lambda:PublishLayerVersion", "lambda:GetLayerVersion", "lambda:DeleteLayerVersion"],
    "AWS::Lambda::Permission": ["lambda:AddPermission", "lambda:RemovePermission"],
    "AWS::Logs::LogGroup": ["logs:CreateLogGroup", "logs:PutRetentionPolicy", "logs:DeleteLogGroup"],
    "AWS::S3::Bucket": ["s3:CreateBucket", "s3:PutBucketPublicAccessBlock", "s3:PutLifecycleConfiguration"],
    "AWS::S3::BucketPolicy": ["s3:PutBucketPolicy", "s3:DeleteBucketPolicy"],
    "AWS::SNS::Topic": ["sns:CreateTopic", "sns:Subscribe", "sns:DeleteTopic"],
    "AWS::SQS::Queue": ["sqs:CreateQueue", "sqs:SetQueueAttributes", "sqs:DeleteQueue"],
    "AWS::Scheduler::Schedule": ["scheduler:CreateSchedule", "scheduler:UpdateSchedule", "scheduler:DeleteSchedule"],
    "AWS::SecretsManager::Secret": ["secretsmanager:CreateSecret", "secretsmanager:DeleteSecret"],
    "Custom::EdgeSecrets": ["lambda:InvokeFunction"],
}
"""Maps each resource type to the least that CloudFormation does in the deployer's name."""
BY_THE_COMMANDS = [
    "sts:GetCallerIdentity",
    "lambda:GetAccountSettings",
    "acm:ListCertificates",
    "cloudformation:CreateChangeSet",
    "cloudformation:ExecuteChangeSet",
    "cloudformation:DescribeStacks",
    "cloudformation:DescribeStackEvents",
    "cloudformation:ListStackResources",
    "cloudformation:SetStackPolicy",
    "cloudformation:DeleteStack",
    "secretsmanager:GetSecretValue",
    "s3:PutObject",
    "s3:GetObject",
    "s3:ListBucket",
    "s3:DeleteObject",
]
"""Actions that make deploy, sam and the deployment check call themselves."""


@pytest.fixture(scope="module")
def made() -> dict[str, dict[str, Any]]:
    return Steps(print).made_of_template()


def statements() -> Iterator[Mapping[str, Any]]:
    yield from json.loads(POLICY.read_text())["Statement"]


def allows(action: str) -> bool:
    return any(fnmatchcase(action, item) for one in statements() for item in one["Action"])


def test_each_role_has_the_boundary(made: Mapping[str, Mapping[str, Any]]) -> None:
    roles = {name: row["properties"] for name, row in made.items() if row["type"] == "AWS::IAM::Role"}
    assert len(roles) > 6, "SAM makes one for each schedule"
    wanted = {"Fn::If": ["HasPermissionsBoundary", {"Ref": "PermissionsBoundary"}, {"Ref": "AWS::NoValue"}]}
    assert {name for name, item in roles.items() if item.get("PermissionsBoundary") != wanted} == set()


def test_policy_covers_every_resource_type(made: Mapping[str, Mapping[str, Any]]) -> None:
    types = {row["type"] for row in made.values()}
    assert types <= set(NEEDED), "look up what a new type needs, here and in the policy"
    assert [action for item in sorted(types) for action in NEEDED[item] if not allows(action)] == []


@pytest.mark.parametrize("action", BY_THE_COMMANDS)
def test_policy_covers_the_commands(action: str) -> None:
    assert allows(action)


@pytest.mark.parametrize(
    "action",
    [
        "iam:CreateUser",
        "iam:AttachUserPolicy",
        "iam:PutUserPolicy",
        "dynamodb:DeleteItem",
        "s3:PutObjectAcl",
        "kms:Decrypt",
    ],
)
def test_policy_allows_nothing_else(action: str) -> None:
    """Data is kept when the stack is deleted, so a deployer needn't be able to delete it."""
    assert not allows(action)


def test_policy_is_valid() -> None:
    text = POLICY.read_text()
    assert len("".join(text.split())) <= LONGEST_POLICY
    sids = [one["Sid"] for one in statements()]
    assert len(set(sids)) == len(sids)
    assert all(sid.isalnum() for sid in sids)
    assert {one["Effect"] for one in statements()} == {"Allow"}


def test_tables_are_deleted_by_cloudformation_only() -> None:
    """A bucket goes only when it is empty, which S3 sees to."""
    [deleting] = [one for one in statements() if "dynamodb:DeleteTable" in one["Action"]]
    called = deleting["Condition"]["ForAnyValue:StringEquals"]["aws:CalledVia"]
    assert called == ["cloudformation.amazonaws.com"]


def test_roles_pass_to_lambda_and_scheduler_only() -> None:
    [passing] = [one for one in statements() if "iam:PassRole" in one["Action"]]
    assert passing["Condition"]["StringEquals"]["iam:PassedToService"] == [
        "lambda.amazonaws.com",
        "scheduler.amazonaws.com",
    ]
    [creating] = [one for one in statements() if "iam:CreateRole" in one["Action"]]
    assert creating["Resource"] == passing["Resource"] == "arn:aws:iam::*:role/actions-cache*"
