"""What stands in the edge's KeyValueStore, looked up again every few seconds: that is how long a change takes."""

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from mypy_boto3_cloudfront_keyvaluestore import CloudFrontKeyValueStoreClient

FRESH_SECONDS = 5.0


class EdgeKeyValueStore:
    """Args: arn: of the KeyValueStore."""

    def __init__(self, client: "CloudFrontKeyValueStoreClient", arn: str) -> None:
        self._client = client
        self._arn = arn
        self._content: Mapping[str, str] = {}
        self._fresh_until = 0.0
        self._looking = asyncio.Lock()

    async def current(self) -> Mapping[str, str]:
        """Its keys and values; those of before while it doesn't answer."""
        if time.monotonic() >= self._fresh_until:
            async with self._looking:
                if time.monotonic() >= self._fresh_until:
                    self._content = await asyncio.to_thread(self._look)
                    self._fresh_until = time.monotonic() + FRESH_SECONDS
        return self._content

    def _look(self) -> Mapping[str, str]:
        try:
            return {it["Key"]: it["Value"] for it in self._client.list_keys(KvsARN=self._arn).get("Items", ())}
        except (ClientError, BotoCoreError):
            return self._content
