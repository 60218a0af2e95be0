"""The secrets that the edge verifies by, in CloudFront's KeyValueStore, where its functions read them.

Requests are signed by SigV4A, which boto3 can only with awscrt beside it.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from botocore.config import Config
from botocore.exceptions import ClientError

from actions_cache.adapters.aws import QUICK_CALLS, answers, error_code
from actions_cache.ports import KnownToEdge, WriteConflict

if TYPE_CHECKING:
    from mypy_boto3_cloudfront_keyvaluestore import CloudFrontKeyValueStoreClient

KEY = "url-signing-secrets"
"""Its value: the secrets, separated by a space. functions/edge/viewer_request.js reads it."""


SIGV4A_CALLS = QUICK_CALLS.merge(Config(signature_version="v4a"))
"""The others' signature would override the one that this service alone asks for."""


class KeyValueStoreSecrets:
    """See ports.EdgeSecrets. The version is the store's ETag.

    Args:
        client: made with SIGV4A_CALLS.
        arn: of the KeyValueStore.
    """

    def __init__(self, client: "CloudFrontKeyValueStoreClient", arn: str) -> None:
        self._client = client
        self._arn = arn

    def read(self) -> KnownToEdge:
        """The version first: what changes after it makes a write by it fail."""
        with answers():
            version = self._client.describe_key_value_store(KvsARN=self._arn)["ETag"]
            try:
                value = self._client.get_key(KvsARN=self._arn, Key=KEY)["Value"]
            except ClientError as error:
                if error_code(error) != "ResourceNotFoundException":
                    raise
                value = ""
        return KnownToEdge(tuple(value.split()), version)

    def write(self, secrets: Sequence[str], seen: KnownToEdge) -> None:
        with answers():
            try:
                self._client.put_key(KvsARN=self._arn, Key=KEY, Value=" ".join(secrets), IfMatch=seen.version)
            except ClientError as error:
                if error_code(error) in ("ConflictException", "PreconditionFailed"):
                    raise WriteConflict(KEY) from error
                raise
