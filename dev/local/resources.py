"""Creates on emulators what template.yaml declares: tables, bucket, queues, secrets and the edge's KeyValueStore."""

import json
import secrets as randomness
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import ClientError

from dev.local.template import NO_VALUE, Template

if TYPE_CHECKING:
    from mypy_boto3_cloudfront import CloudFrontClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sqs import SQSClient

NOT_FOR_CREATE_TABLE = frozenset(
    {"PointInTimeRecoverySpecification", "SSESpecification", "TableName", "Tags", "TimeToLiveSpecification"}
)

TAKEN = frozenset(
    {
        "ResourceInUseException",
        "ResourceExistsException",
        "BucketAlreadyOwnedByYou",
        "BucketAlreadyExists",
        "EntityAlreadyExists",
    }
)


OUTSIDE = frozenset({"RESULTS_SERVICE_URL"})
"""Variables that lead to GitHub's own services, where nothing goes unless the user says so."""


class DeclaredAnew(Exception):
    """Raised when a table exists with other keys, from an earlier template: keys can't be changed."""


@dataclass(frozen=True)
class Clients:
    """AWS clients; their endpoints come from the AWS_ENDPOINT_URL_... variables."""

    dynamodb: "DynamoDBClient"
    s3: "S3Client"
    sqs: "SQSClient"
    secretsmanager: "SecretsManagerClient"
    cloudfront: "CloudFrontClient"

    @classmethod
    def of(cls, session: boto3.Session) -> "Clients":
        return cls(
            session.client("dynamodb"),
            session.client("s3"),
            session.client("sqs"),
            session.client("secretsmanager"),
            session.client("cloudfront"),
        )


@dataclass(frozen=True)
class Resources:
    """The resources that were created.

    Args:
        template: Template that declares them.
        refs: What CloudFormation's `Ref` (and, as `Name.Attribute`, `GetAtt`) returns: the name of a table or bucket,
            the URL of a queue, the ARN of a secret.
        tables_are_new: Whether a table was missing.
    """

    template: Template
    refs: Mapping[str, str]
    tables_are_new: bool

    def environment(self, function: str) -> dict[str, str]:
        """Return a function's variables as Lambda would set them, without empty ones and those that lead outside."""
        variables = {
            name: str(self.template.resolve(value, self.refs))
            for name, value in self.template.environment(function).items()
        }
        return {name: value for name, value in variables.items() if value and value != NO_VALUE and name not in OUTSIDE}


def create(template: Template, clients: Clients, prefix: str = "cache") -> Resources:
    """Create the resources that don't exist yet. The prefix keeps several sets apart on one emulator.

    Raises:
        DeclaredAnew: An existing table can't become what the template declares.
    """
    refs: dict[str, str] = {}
    new_tables = [_table(template, clients.dynamodb, logical_id, refs, prefix) for logical_id in _tables(template)]
    for logical_id in template.of_type("AWS::S3::Bucket"):
        refs[logical_id] = f"{prefix}-{logical_id.lower()}"
        with _unless_it_exists():
            clients.s3.create_bucket(Bucket=refs[logical_id])
    for logical_id in template.of_type("AWS::SecretsManager::Secret"):
        refs[logical_id] = _secret(template, clients.secretsmanager, logical_id, prefix)
    for logical_id in template.of_type("AWS::CloudFront::KeyValueStore"):
        refs[f"{logical_id}.Arn"] = _key_value_store(clients.cloudfront, f"{prefix}-{logical_id}")
    for logical_id in _queues_after_their_dead_letter_queues(template):
        _queue(template, clients.sqs, logical_id, refs, prefix)
    return Resources(template, refs, any(new_tables))


def _tables(template: Template) -> Mapping[str, Any]:
    return template.of_type("AWS::DynamoDB::Table")


def _table(template: Template, dynamodb: "DynamoDBClient", logical_id: str, refs: dict[str, str], prefix: str) -> bool:
    """Create a table unless it exists, and return whether it is new."""
    refs[logical_id] = f"{prefix}-{logical_id}"
    declared = template.resolve(template.properties(logical_id), refs)
    wanted = {name: value for name, value in declared.items() if name not in NOT_FOR_CREATE_TABLE}
    try:
        dynamodb.create_table(TableName=refs[logical_id], **wanted)
    except dynamodb.exceptions.ResourceInUseException:
        existing: Mapping[str, Any] = dynamodb.describe_table(TableName=refs[logical_id])["Table"]
        if _keys(existing) != _keys(wanted):
            raise DeclaredAnew(f"{refs[logical_id]} exists with other keys than template.yaml declares") from None
        return False
    return True


def _keys(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys by index; those of the table itself have an empty name."""
    indexes = [*table.get("LocalSecondaryIndexes", ()), *table.get("GlobalSecondaryIndexes", ())]
    return {"": table["KeySchema"]} | {index["IndexName"]: index["KeySchema"] for index in indexes}


def _secret(template: Template, secretsmanager: "SecretsManagerClient", logical_id: str, prefix: str) -> str:
    name = f"{prefix}-{logical_id}"
    declared = template.properties(logical_id)["GenerateSecretString"]
    value = json.loads(declared["SecretStringTemplate"]) | {declared["GenerateStringKey"]: randomness.token_hex(32)}
    with _unless_it_exists():
        return secretsmanager.create_secret(Name=name, SecretString=json.dumps(value))["ARN"]
    return secretsmanager.describe_secret(SecretId=name)["ARN"]


def _key_value_store(cloudfront: "CloudFrontClient", name: str) -> str:
    with _unless_it_exists():
        return cloudfront.create_key_value_store(Name=name)["KeyValueStore"]["ARN"]
    return cloudfront.describe_key_value_store(Name=name)["KeyValueStore"]["ARN"]


def _queues_after_their_dead_letter_queues(template: Template) -> list[str]:
    queues = template.of_type("AWS::SQS::Queue")
    return sorted(queues, key=lambda name: "RedrivePolicy" in template.properties(name))


def _queue(template: Template, sqs: "SQSClient", logical_id: str, refs: dict[str, str], prefix: str) -> None:
    declared = template.resolve(template.properties(logical_id), refs)
    attributes = {
        name: json.dumps(value) if isinstance(value, dict) else str(value)
        for name, value in declared.items()
        if name in ("VisibilityTimeout", "MessageRetentionPeriod", "RedrivePolicy")
    }
    url = sqs.create_queue(QueueName=f"{prefix}-{logical_id}")["QueueUrl"]
    # In a second call: an existing queue may have the attributes of an earlier template.
    sqs.set_queue_attributes(QueueUrl=url, Attributes=attributes)
    refs[logical_id] = url
    answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    refs[f"{logical_id}.Arn"] = answer["Attributes"]["QueueArn"]


@contextmanager
def _unless_it_exists() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] not in TAKEN:
            raise
