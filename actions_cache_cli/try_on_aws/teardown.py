"""Deletes all of a try: stacks, bucket, tables, logs, and the code that sam uploaded. It finds them by their name."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from actions_cache_cli.deploy.aws import Account, AwsRefused, in_words

MANAGED_STACK, MANAGED_BUCKET = "aws-sam-cli-managed-default", "SourceBucket"
PREFIX = "try-actions-cache-"
"""Nothing else is called so: whatever begins with it and the try's own suffix is the try's."""
AT_ONCE = 1000


class NoTry(Exception):
    """Raised for a name that isn't a try's, of which nothing is deleted."""


@dataclass
class Sweeper(Account):
    """Makes the calls to AWS that deleting needs beyond those of a deploy."""

    @in_words
    def tables(self, prefix: str) -> list[str]:
        pages = self.client("dynamodb").get_paginator("list_tables").paginate()
        return [name for page in pages for name in page["TableNames"] if name.startswith(prefix)]

    @in_words
    def delete_table(self, name: str) -> None:
        tables = self.client("dynamodb")
        tables.delete_table(TableName=name)
        tables.get_waiter("table_not_exists").wait(TableName=name, WaiterConfig={"Delay": 2, "MaxAttempts": 150})

    @in_words
    def buckets(self, prefix: str) -> list[str]:
        rows = self.client("s3").list_buckets()["Buckets"]
        return [row["Name"] for row in rows if row["Name"].startswith(prefix)]

    @in_words
    def empty_bucket(self, name: str, prefix: str = "") -> None:
        s3 = self.client("s3")
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=name, Prefix=prefix):
            self._delete(name, [*page.get("Versions", ()), *page.get("DeleteMarkers", ())])
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=name, Prefix=prefix):
            self._delete(name, page.get("Contents", ()))
        for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=name, Prefix=prefix):
            for row in page.get("Uploads", ()):
                s3.abort_multipart_upload(Bucket=name, Key=row["Key"], UploadId=row["UploadId"])

    def _delete(self, bucket: str, rows: Any) -> None:
        keys = [
            {"Key": row["Key"]} | ({"VersionId": row["VersionId"]} if row.get("VersionId", "null") != "null" else {})
            for row in rows
        ]
        for start in range(0, len(keys), AT_ONCE):
            said = self.client("s3").delete_objects(
                Bucket=bucket, Delete={"Objects": keys[start : start + AT_ONCE], "Quiet": True}
            )
            if said.get("Errors"):
                raise AwsRefused(f"S3 doesn't delete {said['Errors'][0]['Key']}: {said['Errors'][0].get('Message')}")

    @in_words
    def delete_bucket(self, name: str) -> None:
        self.client("s3").delete_bucket(Bucket=name)

    @in_words
    def log_groups(self, prefix: str) -> list[str]:
        pages = self.client("logs").get_paginator("describe_log_groups").paginate(logGroupNamePrefix=prefix)
        return [row["logGroupName"] for page in pages for row in page["logGroups"]]

    @in_words
    def delete_log_group(self, name: str) -> None:
        self.client("logs").delete_log_group(logGroupName=name)

    @in_words
    def create_stack(self, name: str, template: str) -> None:
        """Create the stack, and wait until it is there.

        Raises:
            AwsRefused: AWS refuses, or the creation fails.
        """
        formation = self.client("cloudformation")
        formation.create_stack(StackName=name, TemplateBody=template, OnFailure="DELETE")
        formation.get_waiter("stack_create_complete").wait(
            StackName=name, WaiterConfig={"Delay": 2, "MaxAttempts": 150}
        )

    @in_words
    def start_anew(self, function: str, said: str) -> None:
        """Have Lambda start the function anew at its next call: a changed configuration does."""
        functions = self.client("lambda")
        functions.update_function_configuration(FunctionName=function, Description=said)
        functions.get_waiter("function_updated_v2").wait(
            FunctionName=function, WaiterConfig={"Delay": 1, "MaxAttempts": 120}
        )


@dataclass
class Teardown:
    account: Sweeper
    name: str
    say: Callable[[str], None]
    left: list[str] = field(default_factory=list)
    """Things that couldn't be deleted, each with why."""

    def __post_init__(self) -> None:
        if not self.name.startswith(PREFIX) or len(self.name) <= len(PREFIX):
            raise NoTry(f"{self.name} isn't a try's name, which begins with {PREFIX}: nothing is deleted")

    @property
    def issuer(self) -> str:
        return f"{self.name}-issuer"

    def run(self) -> list[str]:
        """Delete all that can be, and return what is left; one failure doesn't stop the rest."""
        self.left.clear()
        for what, delete in self._all():
            try:
                delete()
            except AwsRefused as refused:
                self.left.append(f"{what}: {refused}")
            except Exception as fault:  # noqa: BLE001 - the rest has to go, whatever this is
                self.left.append(f"{what}: {fault!r}")
        return self.left

    def _all(self) -> Iterator[tuple[str, Callable[[], None]]]:
        account, name = self.account, self.name
        for stack in (name, self.issuer):
            yield f"stack {stack}", lambda stack=stack: self._delete_stack(stack)  # type: ignore[misc]
        yield from self._found("bucket", lambda: account.buckets(name), self._delete_bucket)
        yield from self._found("table", lambda: account.tables(name), account.delete_table)
        yield from self._found("log group", lambda: account.log_groups(f"/aws/lambda/{name}"), account.delete_log_group)
        yield "the code that sam uploaded", self._delete_code

    def _found(
        self, what: str, find: Callable[[], list[str]], delete: Callable[[str], None]
    ) -> Iterator[tuple[str, Callable[[], None]]]:
        try:
            names = find()
        except AwsRefused as refused:
            self.left.append(f"perhaps a {what} whose name begins with {self.name}: {refused}")
            return
        for one in names:
            self.say(f"... deleting {what} {one}")
            yield f"{what} {one}", lambda one=one: delete(one)  # type: ignore[misc]

    def _delete_stack(self, stack: str) -> None:
        if self.account.stack(stack) is not None:
            self.say(f"... deleting stack {stack}")
            self.account.delete_stack(stack)

    def _delete_bucket(self, bucket: str) -> None:
        self.account.empty_bucket(bucket)
        self.account.delete_bucket(bucket)

    def _delete_code(self) -> None:
        """Delete this try's code from sam's own bucket; all stacks share that bucket and its stack, so both stay."""
        if (managed := self.account.stack(MANAGED_STACK)) is not None:
            self.account.empty_bucket(managed.outputs[MANAGED_BUCKET], f"{self.name}/")
