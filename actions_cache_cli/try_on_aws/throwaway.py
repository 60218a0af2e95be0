"""The throwaway stacks: an issuer of tokens, and the deletion of everything that a try made, found by its name."""

import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from actions_cache_cli.aws import Account, AwsRefused, in_words
from actions_cache_cli.terminal import CannotStart

MANAGED_STACK, MANAGED_BUCKET = "aws-sam-cli-managed-default", "SourceBucket"
PREFIX = "try-actions-cache-"
"""Beginning of every try's name. What begins with it and the try's own suffix belongs to that try alone."""
AT_ONCE = 1000


class NoTry(CannotStart):
    """Raised for a name that isn't a try's; nothing is deleted."""


@dataclass
class Sweeper(Account):
    """An account, with the calls that deleting needs beyond those of a deploy."""

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
    """Things that couldn't be deleted, each with the reason."""

    def __post_init__(self) -> None:
        if not self.name.startswith(PREFIX) or len(self.name) <= len(PREFIX):
            raise NoTry(f"{self.name} isn't a try's name, which begins with {PREFIX}: nothing is deleted")

    @property
    def issuer(self) -> str:
        return f"{self.name}-issuer"

    def run(self) -> list[str]:
        """Delete all that can be, and return what is left; one failure doesn't stop the rest."""
        self.left.clear()
        for thing, delete in self._all():
            try:
                delete()
            except AwsRefused as refused:
                self.left.append(f"{thing}: {refused}")
            except Exception as error:  # noqa: BLE001 - the rest has to go, whatever this is
                self.left.append(f"{thing}: {error!r}")
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
        self, kind: str, find: Callable[[], list[str]], delete: Callable[[str], None]
    ) -> Iterator[tuple[str, Callable[[], None]]]:
        try:
            names = find()
        except AwsRefused as refused:
            self.left.append(f"perhaps a {kind} whose name begins with {self.name}: {refused}")
            return
        for name in names:
            self.say(f"... deleting {kind} {name}")
            yield f"{kind} {name}", lambda name=name: delete(name)  # type: ignore[misc]

    def _delete_stack(self, stack: str) -> None:
        if self.account.stack(stack) is not None:
            self.say(f"... deleting stack {stack}")
            self.account.delete_stack(stack)

    def _delete_bucket(self, bucket: str) -> None:
        self.account.empty_bucket(bucket)
        self.account.delete_bucket(bucket)

    def _delete_code(self) -> None:
        """Delete this try's code from sam's own bucket, which stays because all stacks share it."""
        if (managed := self.account.stack(MANAGED_STACK)) is not None:
            self.account.empty_bucket(managed.outputs[MANAGED_BUCKET], f"{self.name}/")


# ---------------------------------------------------------------- an issuer of tokens for one try

STAGE = "v1"
FOLDER, FILE = ".well-known", "jwks"
PATH = f"/{FOLDER}/{FILE}"
OUTPUT = "IssuerUrl"
READ_WRITE = 3
VALID_SECONDS = 4 * 3600
KEY_ID = "try"


class ThrowawayIssuer:
    """An issuer whose key stays in this process; API Gateway alone serves the public half.

    So no runner is needed, and nobody else's token is accepted.
    """

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(65537, 2048)
        self.repository = str(10**9 + secrets.randbelow(10**9))

    @property
    def key_set(self) -> dict[str, Any]:
        public = jwt.algorithms.RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        return {"keys": [public | {"kid": KEY_ID, "use": "sig", "alg": "RS256"}]}

    def token(self, url: str) -> str:
        now = int(time.time())
        claims = {
            "iss": url,
            "nbf": now - 60,
            "exp": now + VALID_SECONDS,
            "repository_id": self.repository,
            "ac": json.dumps([{"Scope": "refs/heads/main", "Permission": READ_WRITE}]),
        }
        return jwt.encode(claims, self._key, algorithm="RS256", headers={"kid": KEY_ID})

    def claims(self, url: str) -> str:
        """Return the parameter TokenClaims that lets in these tokens and no others."""
        return f"repository_id={self.repository}@{url}"

    def template(self) -> dict[str, Any]:
        """Return a stack that serves the public key and runs nothing."""
        method = {
            "RestApiId": {"Ref": "Api"},
            "ResourceId": {"Ref": "KeySet"},
            "HttpMethod": "GET",
            "AuthorizationType": "NONE",
            "MethodResponses": [{"StatusCode": "200"}],
            "Integration": {
                "Type": "MOCK",
                "RequestTemplates": {"application/json": '{"statusCode": 200}'},
                "IntegrationResponses": [
                    {"StatusCode": "200", "ResponseTemplates": {"application/json": json.dumps(self.key_set)}}
                ],
            },
        }
        return {
            "AWSTemplateFormatVersion": "2010-09-09",
            "Description": "The public key of a try of the actions cache. Delete it.",
            "Resources": {
                "Api": {
                    "Type": "AWS::ApiGateway::RestApi",
                    "Properties": {
                        "Name": {"Ref": "AWS::StackName"},
                        "EndpointConfiguration": {"Types": ["REGIONAL"]},
                    },
                },
                "WellKnown": _resource(FOLDER, {"Fn::GetAtt": ["Api", "RootResourceId"]}),
                "KeySet": _resource(FILE, {"Ref": "WellKnown"}),
                "GetKeySet": {"Type": "AWS::ApiGateway::Method", "Properties": method},
                "Deployment": {
                    "Type": "AWS::ApiGateway::Deployment",
                    "DependsOn": "GetKeySet",
                    "Properties": {"RestApiId": {"Ref": "Api"}},
                },
                "Stage": {
                    "Type": "AWS::ApiGateway::Stage",
                    "Properties": {
                        "RestApiId": {"Ref": "Api"},
                        "DeploymentId": {"Ref": "Deployment"},
                        "StageName": STAGE,
                    },
                },
            },
            "Outputs": {
                OUTPUT: {
                    "Value": {"Fn::Sub": f"https://${{Api}}.execute-api.${{AWS::Region}}.${{AWS::URLSuffix}}/{STAGE}"}
                }
            },
        }


def _resource(path: str, parent: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "Type": "AWS::ApiGateway::Resource",
        "Properties": {"RestApiId": {"Ref": "Api"}, "ParentId": parent, "PathPart": path},
    }
