"""Reads the stack with the deployer's credentials: its bucket and signing secret, to ask the edge without a runner."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from actions_cache.domain.access import GITHUB, Anybody, parse_rule
from actions_cache.domain.object_keys import ArchiveKeys, object_subject
from actions_cache.domain.refused_job import Refusals
from actions_cache.domain.signing import Direction, signed_path
from actions_cache.domain.timing import SECOND
from actions_cache_cli.deployment_check.diagnoses import of_creation

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

RUNNER_URL, BUCKET, SECRET, API_URL = "RunnerUrl", "BucketName", "UrlSigningSecretArn", "ApiUrl"
"""Outputs of template.yaml."""

CLAIMS, ISSUERS, MERGE_WORKERS, SEEK_THROUGH = "TokenClaims", "TokenIssuers", "MergeWorkers", "SeekThrough"
"""Names of parameters of template.yaml."""

NEVER_MADE = ("CREATE_FAILED", "ROLLBACK_IN_PROGRESS", "ROLLBACK_FAILED", "ROLLBACK_COMPLETE")

URL_SECONDS = 900


class StackUnreadable(Exception):
    """Raised when the stack can't be read; the message says what was wrong, and what to do."""


@dataclass(frozen=True)
class Stack:
    s3: "S3Client"
    bucket: str
    secret: str
    runner_url: str
    token_claims: str = ""
    token_issuers: str = GITHUB
    refused: Callable[[], Sequence[Refusals]] = tuple
    """Returns the refused jobs, or raises StackUnreadable."""
    concurrency: "Concurrency | None" = None
    """Concurrency of the account; None if these credentials may not ask."""
    api_url: str | None = None
    """URL of the API itself, where clients that seek are sent past the edge (SeekThrough=api)."""

    @property
    def anybody_of(self) -> tuple[str, ...]:
        """Return the issuers whose jobs are all admitted."""
        rules = [parse_rule(text) for text in self.token_claims.split(",") if text]
        open_to = {rule.issuer for rule in rules if isinstance(rule, Anybody)}
        issuers = [issuer.rstrip("/") for issuer in self.token_issuers.split(",")]
        return tuple(issuer for issuer in issuers if None in open_to or issuer in open_to)

    def signed_path(self, direction: Direction, subject: str, seconds: float = URL_SECONDS) -> str:
        """Return a path with its query that is good for so many seconds, or expired for as many if negative."""
        return signed_path(direction, subject, int((time.time() + seconds) * SECOND), self.secret)

    def object_path(self, key: str, size: int) -> str:
        return self.signed_path(Direction.OBJECT, object_subject(key, size))

    def key_of_block(self, archive_id: str, block_id: str) -> str | None:
        """Return the key of the block's newest arrival; None if there is none."""
        listed = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=ArchiveKeys(archive_id).block_prefix(block_id))
        return max((row["Key"] for row in listed.get("Contents", ())), default=None)

    def describe(self, key: str) -> Mapping[str, Any]:
        return self.s3.head_object(Bucket=self.bucket, Key=key)

    def delete(self, key: str) -> None:
        self.s3.delete_object(Bucket=self.bucket, Key=key)

    def delete_archive(self, archive_id: str) -> int:
        """Delete an archive's objects, and return how many there were."""
        listed = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=ArchiveKeys(archive_id).prefix)
        keys = [row["Key"] for row in listed.get("Contents", ())]
        for key in keys:
            self.delete(key)
        return len(keys)


def read_stack(name: str) -> Stack:
    """Read the stack with the credentials and region of the environment.

    Raises:
        StackUnreadable: It can't be read.
    """
    import boto3  # noqa: PLC0415 - only with STACK=
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    from actions_cache_cli.aws import BAD_CREDENTIALS, explain, refusal  # noqa: PLC0415

    try:
        session = boto3.Session()
        formation: Any = session.client("cloudformation")
        described = formation.describe_stacks(StackName=name)["Stacks"][0]
        if (failure := creation_failure(described, formation)) is not None:
            raise StackUnreadable(failure)
        outputs = outputs_of(described)
        parameters = {row["ParameterKey"]: row["ParameterValue"] for row in described.get("Parameters", ())}
        secret = session.client("secretsmanager").get_secret_value(SecretId=outputs[SECRET])["SecretString"]
        return Stack(
            session.client("s3"),
            outputs[BUCKET],
            signing_secret(secret),
            outputs[RUNNER_URL],
            parameters.get(CLAIMS, ""),
            parameters.get(ISSUERS, GITHUB),
            lambda: refused_jobs(name),
            concurrency_of(described, session.client("lambda")),
            outputs[API_URL] if parameters.get(SEEK_THROUGH) == "api" else None,
        )
    except KeyError as missing:
        raise StackUnreadable(
            f"the stack {name} has no output {missing}; is it a stack of this project, and deployed to its end?"
        ) from None
    except ClientError as error:
        if error.response["Error"]["Code"] in BAD_CREDENTIALS:
            raise StackUnreadable(str(refusal(error))) from error
        raise StackUnreadable(
            f"AWS says {error.response['Error']['Code']}: {error.response['Error']['Message']}; is the stack in this "
            "region, and may these credentials read it, its bucket and its secret?"
        ) from error
    except BotoCoreError as error:
        raise StackUnreadable(explain(error)) from error


def refused_jobs(name: str) -> Sequence[Refusals]:
    """Return the jobs that a stack refused lately, as the operator's commands do.

    Raises:
        StackUnreadable: The stack can't be asked.
    """
    from actions_cache.ports import Unavailable  # noqa: PLC0415 - only with STACK=
    from actions_cache_cli.console import CommandFailed  # noqa: PLC0415
    from actions_cache_cli.target import services_with, stack_settings  # noqa: PLC0415

    try:
        return services_with(stack_settings(name)).management.list_refused()
    except (CommandFailed, Unavailable) as error:
        raise StackUnreadable(str(error)) from error


def outputs_of(stack: Mapping[str, Any]) -> dict[str, str]:
    """Return the outputs in CloudFormation's description of a stack; none while it is being created."""
    return {row["OutputKey"]: row["OutputValue"] for row in stack.get("Outputs", ())}


def creation_failure(stack: Mapping[str, Any], formation: Any) -> str | None:
    """Return the first failure in CloudFormation's creation of the stack; None if the creation succeeded."""
    name, status = stack["StackName"], stack["StackStatus"]
    if status not in NEVER_MADE:
        return None
    pages = formation.get_paginator("describe_stack_events").paginate(StackName=name)
    failed = [
        (event["LogicalResourceId"], event["ResourceStatusReason"])
        for page in pages
        for event in page["StackEvents"]
        if event.get("ResourceStatus") == "CREATE_FAILED" and "cancelled" not in event.get("ResourceStatusReason", "")
    ]
    if not failed:
        return (
            f"the stack {name} was never created ({status}); its events say why "
            "(aws cloudformation describe-stack-events)"
        )
    logical_id, reason = failed[-1]  # the newest come first
    return f"the stack {name} was never created ({status}). {logical_id}: {reason}. {of_creation(reason)}"


def concurrency_of(stack: Mapping[str, Any], functions: Any) -> "Concurrency | None":
    """Return the account's concurrency; None if the credentials may not ask Lambda."""
    from botocore.exceptions import ClientError  # noqa: PLC0415 - only with STACK=

    try:
        limit = functions.get_account_settings()["AccountLimit"]
    except ClientError:
        return None
    parameters = {row["ParameterKey"]: row["ParameterValue"] for row in stack.get("Parameters", ())}
    workers = parameters.get(MERGE_WORKERS)
    return Concurrency(
        limit["ConcurrentExecutions"], limit["UnreservedConcurrentExecutions"], int(workers) if workers else None
    )


def signing_secret(value: str) -> str:
    """Return the signing secret in the keyring's JSON.

    Raises:
        StackUnreadable: It isn't a keyring.
    """
    try:
        return str(json.loads(value)["current"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise StackUnreadable(
            'the signing secret isn\'t JSON with "current"; deploy again, so that the RotateFunction puts it in order'
        ) from None


# ---------------------------------------------------------------- the account's concurrency

USUAL = 1000
"""Usual concurrent executions in a region; a new account has fewer, down to 10:
https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html."""

ASK = "ask AWS for more (Service Quotas, AWS Lambda, Concurrent executions)"


@dataclass(frozen=True, slots=True)
class Concurrency:
    executions: int
    """Concurrent executions of all functions of the account in this region."""
    unreserved: int
    """Concurrent executions that no function has reserved."""
    merge_workers: int | None
    """Concurrent executions that merges may take; None if the stack has no such bound."""


def shortage(concurrency: Concurrency) -> str | None:
    """Return what is too small, its consequence and its remedy; None if it is enough."""
    if concurrency.merge_workers is None:
        return (
            f"merges may take all {concurrency.unreserved} executions that Lambda has for this account here, so that "
            "lookups are throttled; deploy again, since this version bounds them (MergeWorkers)"
        )
    if concurrency.unreserved <= concurrency.merge_workers:
        return (
            f"Lambda runs {concurrency.unreserved} functions at once for this account here, and merges alone may take "
            f"{concurrency.merge_workers}: lookups and saves would be throttled, and jobs go on without the cache; "
            f"{ASK}, and until you have it deploy with MergeWorkers=2"
        )
    return None


def described(concurrency: Concurrency) -> str:
    """Return the figures that show that it is enough."""
    seen = f"{concurrency.unreserved} executions at once, of which merges take {concurrency.merge_workers} at most"
    if concurrency.executions < USUAL:
        seen += f"; fewer than the usual {USUAL}, so before many jobs run at once {ASK}"
    return seen
