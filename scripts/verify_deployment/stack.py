"""What the deployer's own credentials give: the stack's bucket and signing secret, to ask the edge with no runner."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from actions_cache.domain.layout import ArchiveKeys, object_subject
from actions_cache.domain.signed_url import Direction, signed_path
from actions_cache.domain.timing import SECOND

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

RUNNER_URL, BUCKET, SECRET, API_URL = "RunnerUrl", "BucketName", "UrlSigningSecretArn", "ApiUrl"
"""Outputs of template.yaml."""

SEEK_THROUGH = "SeekThrough"
"""A parameter of it."""

URL_SECONDS = 900


class StackUnreadable(Exception):
    """The message says what was wrong, and what to do."""


@dataclass(frozen=True)
class Stack:
    s3: "S3Client"
    bucket: str
    secret: str
    runner_url: str
    api_url: str | None = None
    """The API's own, where clients that seek are sent past the edge (SeekThrough=api)."""

    def signed_path(self, direction: Direction, subject: str, seconds: float = URL_SECONDS) -> str:
        """A path with its query, good for that long; expired for as long where negative."""
        return signed_path(direction, subject, int((time.time() + seconds) * SECOND), self.secret)

    def object_path(self, key: str, size: int) -> str:
        return self.signed_path(Direction.OBJECT, object_subject(key, size))

    def key_of_block(self, archive_id: str, block_id: str) -> str | None:
        """The key of the newest arrival, None where there is none."""
        listed = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=ArchiveKeys(archive_id).block_prefix(block_id))
        return max((row["Key"] for row in listed.get("Contents", ())), default=None)

    def describe(self, key: str) -> Mapping[str, Any]:
        return self.s3.head_object(Bucket=self.bucket, Key=key)

    def delete(self, key: str) -> None:
        self.s3.delete_object(Bucket=self.bucket, Key=key)

    def delete_archive(self, archive_id: str) -> int:
        """Returns how many objects were deleted."""
        listed = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=ArchiveKeys(archive_id).prefix)
        keys = [row["Key"] for row in listed.get("Contents", ())]
        for key in keys:
            self.delete(key)
        return len(keys)


def read_stack(name: str) -> Stack:
    """With the credentials and region of the environment. Raises StackUnreadable."""
    import boto3  # noqa: PLC0415 - only with STACK=
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    try:
        session = boto3.Session()
        formation: Any = session.client("cloudformation")
        described = formation.describe_stacks(StackName=name)["Stacks"][0]
        outputs = outputs_of(described)
        past_edge = {"ParameterKey": SEEK_THROUGH, "ParameterValue": "api"} in described.get("Parameters", ())
        secret = session.client("secretsmanager").get_secret_value(SecretId=outputs[SECRET])["SecretString"]
        return Stack(
            session.client("s3"),
            outputs[BUCKET],
            signing_secret(secret),
            outputs[RUNNER_URL],
            outputs[API_URL] if past_edge else None,
        )
    except KeyError as missing:
        raise StackUnreadable(
            f"the stack {name} has no output {missing}; is it a stack of this project, and deployed to its end?"
        ) from None
    except ClientError as error:
        raise StackUnreadable(
            f"AWS says {error.response['Error']['Code']}: {error.response['Error']['Message']}; is the stack in this "
            "region, and may these credentials read it, its bucket and its secret?"
        ) from error
    except BotoCoreError as error:
        raise StackUnreadable(
            f"{error}; STACK needs the deployer's credentials and region, as `sam deploy` does"
        ) from error


def outputs_of(stack: Mapping[str, Any]) -> dict[str, str]:
    """By name, from CloudFormation's description of a stack; none while it is being made."""
    return {row["OutputKey"]: row["OutputValue"] for row in stack.get("Outputs", ())}


def signing_secret(value: str) -> str:
    """The one that signs, of the secret's JSON. Raises StackUnreadable."""
    try:
        return str(json.loads(value)["current"])
    except (ValueError, KeyError, TypeError):
        raise StackUnreadable(
            'the signing secret isn\'t JSON with "current"; deploy again, so that the RotateFunction puts it in order'
        ) from None
