"""Asks AWS what a deploy needs to know before and after it, and puts each error into words."""

import datetime as dt
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
)
from botocore.loaders import create_loader
from botocore.regions import EndpointResolver

from actions_cache_cli.terminal import WorkFailed

CERTIFICATES_REGION = "us-east-1"
DEFAULT_REGION = "us-east-1"
TIMEOUTS = Config(connect_timeout=10, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 4})

BAD_CREDENTIALS = {
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
    "RequestExpired",
    "AuthFailure",
    "MissingAuthenticationToken",
}
DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}

KEPT_TYPES = ("AWS::DynamoDB::Table", "AWS::S3::Bucket")
PROTECTION = {
    "Statement": [
        {"Effect": "Allow", "Action": "Update:*", "Principal": "*", "Resource": "*"},
        {
            "Effect": "Deny",
            "Action": ["Update:Replace", "Update:Delete"],
            "Principal": "*",
            "Resource": "*",
            "Condition": {"StringEquals": {"ResourceType": list(KEPT_TYPES)}},
        },
    ]
}
"""A stack policy: an update that would begin with an empty table or bucket fails, and is taken back."""

P = ParamSpec("P")
T = TypeVar("T")


class AwsRefused(WorkFailed):
    """Raised when AWS refuses or can't be asked; the message says what was wrong, and what to do."""


class Denied(AwsRefused):
    """Raised when these credentials may not ask that."""


@dataclass(frozen=True)
class Identity:
    account: str
    arn: str


@dataclass(frozen=True)
class Quotas:
    concurrent: int
    """Functions that may run at once in the account and region."""
    unreserved: int


@dataclass(frozen=True)
class Certificate:
    arn: str
    name: str
    expires: dt.datetime | None


@dataclass(frozen=True)
class DeployedStack:
    status: str
    reason: str
    parameters: Mapping[str, str]
    outputs: Mapping[str, str]
    tags: Mapping[str, str]


def in_words(
    call: Callable[Concatenate[Any, P], T],
) -> Callable[Concatenate[Any, P], T]:
    """Turn boto's errors into AwsRefused."""

    @wraps(call)
    def ask(self: Any, /, *arguments: P.args, **named: P.kwargs) -> T:
        try:
            return call(self, *arguments, **named)
        except ClientError as error:
            raise refusal(error) from error
        except (BotoCoreError, ValueError) as error:
            raise AwsRefused(explain(error)) from error

    return ask


def refusal(error: ClientError) -> AwsRefused:
    code, message = error.response["Error"].get("Code", ""), error.response["Error"].get("Message", "")
    if code in BAD_CREDENTIALS:
        return AwsRefused(
            f"AWS doesn't accept these credentials ({code}): they have expired or are mistyped, or the region isn't "
            "enabled for the account. Sign in again (`aws sso login`, or new keys); `aws sts get-caller-identity` "
            "shows whether it helped"
        )
    if code in DENIED:
        return Denied(
            f"these credentials may not {error.operation_name}: {message}. "
            "deploy/deployer-policy.json has what is needed"
        )
    return AwsRefused(f"AWS refuses {error.operation_name}: {code}, {message}")


def explain(error: Exception) -> str:
    """Say why AWS can't be asked, and what to do."""
    if isinstance(error, NoCredentialsError | PartialCredentialsError | CredentialRetrievalError):
        return (
            f"no AWS credentials were found ({error}): run `aws configure` or `aws sso login`, or set AWS_PROFILE, or "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    if isinstance(error, NoRegionError):
        return "no AWS region is set: set AWS_REGION to the stack's, or run `aws configure`"
    if isinstance(error, ProfileNotFound):
        return f"{error}: set AWS_PROFILE to one of `aws configure list-profiles`"
    return f"AWS can't be asked: {error}"


def home_region() -> str:
    """Return the region that the environment or the AWS configuration names."""
    try:
        return boto3.Session().region_name or DEFAULT_REGION
    except BotoCoreError:
        return DEFAULT_REGION


def known_regions() -> frozenset[str]:
    """Return the regions with Lambda in the part of AWS that has CloudFront, without reading any configuration."""
    endpoints = EndpointResolver(create_loader().load_data("endpoints"))
    return frozenset(endpoints.get_available_endpoints("lambda"))


@dataclass
class Account:
    region: str
    _clients: dict[tuple[str, str], Any] = field(default_factory=dict)

    def client(self, service: str, region: str | None = None) -> Any:
        key = (service, region or self.region)
        if key not in self._clients:
            # The stubs know only services named literally.
            self._clients[key] = boto3.Session().client(*key, config=TIMEOUTS)  # type: ignore[call-overload]
        return self._clients[key]

    @in_words
    def identity(self) -> Identity:
        said = self.client("sts").get_caller_identity()
        return Identity(said["Account"], said["Arn"])

    @in_words
    def quotas(self) -> Quotas:
        limit = self.client("lambda").get_account_settings()["AccountLimit"]
        return Quotas(limit["ConcurrentExecutions"], limit["UnreservedConcurrentExecutions"])

    @in_words
    def certificates(self, domain: str) -> list[Certificate]:
        """Return the certificates issued for the domain in us-east-1, the one that lasts longest first."""
        pages = self.client("acm", CERTIFICATES_REGION).get_paginator("list_certificates")
        rows = (
            row for page in pages.paginate(CertificateStatuses=["ISSUED"]) for row in page["CertificateSummaryList"]
        )
        found = [
            Certificate(row["CertificateArn"], row["DomainName"], row.get("NotAfter"))
            for row in rows
            if any(
                covers(name, domain) for name in (row["DomainName"], *row.get("SubjectAlternativeNameSummaries", ()))
            )
        ]
        never = dt.datetime.min.replace(tzinfo=dt.UTC)
        return sorted(found, key=lambda one: one.expires or never, reverse=True)

    @in_words
    def stack(self, name: str) -> DeployedStack | None:
        try:
            [row] = self.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
        except ClientError as error:
            if "does not exist" in error.response["Error"].get("Message", ""):
                return None
            raise
        if row["StackStatus"] == "DELETE_COMPLETE":
            return None
        return DeployedStack(
            row["StackStatus"],
            row.get("StackStatusReason", ""),
            {item["ParameterKey"]: item.get("ParameterValue", "") for item in row.get("Parameters", ())},
            {item["OutputKey"]: item["OutputValue"] for item in row.get("Outputs", ())},
            {item["Key"]: item["Value"] for item in row.get("Tags", ())},
        )

    @in_words
    def resources(self, stack: str) -> dict[str, tuple[str, str]]:
        """Return type and physical id by logical id."""
        pages = self.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack)
        rows = (row for page in pages for row in page["StackResourceSummaries"])
        return {
            row["LogicalResourceId"]: (row["ResourceType"], row.get("PhysicalResourceId", ""))
            for row in rows
            if row["ResourceStatus"] != "DELETE_COMPLETE"
        }

    @in_words
    def delete_stack(self, name: str) -> None:
        """Delete the stack, and wait until it is gone.

        Raises:
            AwsRefused: AWS refuses, or the deletion fails.
        """
        formation = self.client("cloudformation")
        formation.delete_stack(StackName=name)
        # CloudFront takes some minutes to give up a distribution.
        formation.get_waiter("stack_delete_complete").wait(
            StackName=name, WaiterConfig={"Delay": 5, "MaxAttempts": 360}
        )

    @in_words
    def protect(self, stack: str) -> None:
        """Have CloudFormation refuse an update that would replace or remove what holds data."""
        self.client("cloudformation").set_stack_policy(StackName=stack, StackPolicyBody=json.dumps(PROTECTION))

    @in_words
    def failures(self, stack: str, since: dt.datetime) -> list[str]:
        """Return why resources failed, the first one first, without those that were only cancelled for it."""
        pages = self.client("cloudformation").get_paginator("describe_stack_events").paginate(StackName=stack)
        rows = [row for page in pages for row in page["StackEvents"] if row["Timestamp"] >= since]
        return [
            f"{row['LogicalResourceId']} ({row['ResourceType']}): {row.get('ResourceStatusReason', 'no reason given')}"
            for row in reversed(rows)
            if row["ResourceStatus"].endswith("_FAILED")
            and "Resource creation cancelled" not in row.get("ResourceStatusReason", "")
            and row["ResourceType"] != "AWS::CloudFormation::Stack"
        ]


def covers(name: str, domain: str) -> bool:
    """Return whether a certificate's name covers the domain; `*` stands for one label."""
    if name.startswith("*."):
        return domain.partition(".")[2] == name[2:]
    return name == domain
