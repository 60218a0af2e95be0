"""AWS's published limits, and how much of each the flows ask for."""

from collections.abc import Mapping
from dataclasses import dataclass

from actions_cache.aws.dynamodb_items import DUE_SHARDS
from dev.clients.hook import ranges
from dev.local.template import Template
from dev.scale.recording import Asked

AWS = "https://docs.aws.amazon.com"
DYNAMODB_PARTITION = f"{AWS}/amazondynamodb/latest/developerguide/bp-partition-key-design.html"
DYNAMODB_TABLE = f"{AWS}/amazondynamodb/latest/developerguide/ServiceQuotas.html"
S3_RATE = f"{AWS}/AmazonS3/latest/userguide/optimizing-performance.html"
LAMBDA_SCALING = f"{AWS}/lambda/latest/dg/lambda-concurrency.html"
API_GATEWAY = f"{AWS}/apigateway/latest/developerguide/limits.html"
CLOUDFRONT = f"{AWS}/AmazonCloudFront/latest/DeveloperGuide/cloudfront-limits.html"

REQUEST_SECONDS = 0.1
"""Assumed time of an API request in a function, as in docs/deploy/cost.md."""

MERGE_SECONDS = 3.0
"""Assumed time of a merge of 705 MB inside S3 (docs/design/aws-limits.md#s3)."""

SHARDS_OF_SCHEDULE = len(DUE_SHARDS) - 1
"""The shard of failed merges is seldom written to."""

READ, WRITE = "read", "write"


@dataclass(frozen=True)
class Limit:
    """One limit.

    Args:
        what: what has it, with the unit.
        a_second: the amount a second.
        source: AWS's page, or this deployment's setting.
        per: what has the limit for itself: "store", "repository", "family" or "archive".
        asked: name of the amount that flows ask, as in `amounts`.
    """

    what: str
    a_second: float
    source: str
    per: str
    asked: str


def _default(parameter: str) -> float:
    return float(Template.load().body["Parameters"][parameter]["Default"])


LIMITS = (
    Limit(
        "API Gateway: requests of one API, by `RequestsPerSecond`",
        _default("RequestsPerSecond"),
        "setting",
        "store",
        "api",
    ),
    Limit("API Gateway: requests of an account and region", 10_000, API_GATEWAY, "store", "api"),
    Limit(
        "Lambda: requests, ten for each of 1,000 executions at once",
        10_000,
        LAMBDA_SCALING,
        "store",
        "api",
    ),
    Limit("Lambda: seconds of functions, of 1,000 concurrent executions", 1_000, LAMBDA_SCALING, "store", "lambda"),
    Limit("Lambda: seconds of merges, by `MergeWorkers`", _default("MergeWorkers"), "setting", "store", "merging"),
    Limit("CloudFront: requests to one distribution", 250_000, CLOUDFRONT, "store", "edge"),
    Limit(
        "Uploads that one repository begins, by `CreatesPerMinute`",
        _default("CreatesPerMinute") / 60,
        "setting",
        "repository",
        "creates",
    ),
    Limit("S3: writes below one prefix, here the bucket before S3 has split it", 3_500, S3_RATE, "store", "s3 write"),
    Limit("S3: reads below one prefix, here the bucket before S3 has split it", 5_500, S3_RATE, "store", "s3 read"),
    Limit(
        "S3: reads below one prefix, here one archive's, which S3 can't split further",
        5_500,
        S3_RATE,
        "archive",
        "s3 read",
    ),
    Limit(
        "DynamoDB: write units of a partition, here the store's usage",
        1_000,
        DYNAMODB_PARTITION,
        "store",
        "the store's usage, write",
    ),
    Limit(
        "DynamoDB: write units of a partition, here one repository's counts",
        1_000,
        DYNAMODB_PARTITION,
        "repository",
        "one repository's counts, write",
    ),
    Limit(
        "DynamoDB: read units of a partition, here one repository's counts",
        3_000,
        DYNAMODB_PARTITION,
        "repository",
        "one repository's counts, read",
    ),
    Limit(
        "DynamoDB: write units of a partition, here one repository's index of uses",
        1_000,
        DYNAMODB_PARTITION,
        "repository",
        "one repository's index of uses, write",
    ),
    Limit(
        "DynamoDB: read units of a partition, here the entries of one repository, scope and version",
        3_000,
        DYNAMODB_PARTITION,
        "family",
        "entries of one key's family, read",
    ),
    Limit(
        "DynamoDB: write units of a partition, here the entries of one repository, scope and version",
        1_000,
        DYNAMODB_PARTITION,
        "family",
        "entries of one key's family, write",
    ),
    Limit(
        "DynamoDB: write units of the cleanup schedule's 16 partitions",
        1_000 * SHARDS_OF_SCHEDULE,
        DYNAMODB_PARTITION,
        "store",
        "cleanup schedule's index, write",
    ),
    Limit(
        "DynamoDB: read units of one archive's item", 3_000, DYNAMODB_PARTITION, "archive", "one item of archives, read"
    ),
    Limit("DynamoDB: write units of a table, by quota", 40_000, DYNAMODB_TABLE, "store", "all write"),
    Limit("DynamoDB: read units of a table, by quota", 40_000, DYNAMODB_TABLE, "store", "all read"),
)


@dataclass(frozen=True)
class Scenario:
    """Some jobs at once.

    Args:
        what: what happens.
        runners: how many runners do it.
        seconds: within how long.
        flows: how often each runner makes each flow.
        blocks: blocks of each save.
        ranges: requests by which each restore reads its entry from S3.
        repositories: among how many repositories they are spread.
        archives: among how many archives the restores are spread.
    """

    what: str
    runners: int
    seconds: float
    flows: Mapping[str, float]
    blocks: int
    ranges: int
    repositories: int = 1
    archives: int = 1

    def demand(self, limit: Limit, asked: Mapping[str, Asked]) -> float:
        """Return what is asked of the limit in a second."""
        spread = {"store": 1, "repository": self.repositories, "family": self.repositories, "archive": self.archives}
        rates = {flow: times * self.runners / self.seconds for flow, times in self.flows.items()}
        amount = sum(rate * self._amounts(flow, asked[flow]).get(limit.asked, 0.0) for flow, rate in rates.items())
        return amount / spread[limit.per]

    def _amounts(self, flow: str, asked: Asked) -> Mapping[str, float]:
        """Return what one flow asks, by the names that limits have."""
        is_save, is_merge, is_hit = flow == "save", flow == "merge", "hit" in flow
        calls = 0 if is_merge else 3 if is_save else 1
        s3 = {name: count for name, count in asked.requests.items() if name.startswith("S3:")}
        # The recorded save has two blocks, which the driver writes past the edge.
        blocks = self.blocks if is_save else 0
        writes = sum(n for name, n in s3.items() if not name.endswith(("GetObject", "HeadObject"))) - (
            2 if is_save else 0
        )
        return {
            **asked.units,
            "all write": sum(n for name, n in asked.units.items() if name.endswith(WRITE)),
            "all read": sum(n for name, n in asked.units.items() if name.endswith(READ)),
            "api": calls,
            "lambda": calls * REQUEST_SECONDS + (MERGE_SECONDS if is_merge else 0),
            "merging": MERGE_SECONDS if is_merge else 0,
            "edge": calls + blocks,
            "creates": 1 if is_save else 0,
            "s3 write": writes + blocks + (self.blocks - 2 if is_merge else 0),
            "s3 read": sum(n for name, n in s3.items() if name.endswith(("GetObject", "HeadObject")))
            + (self.ranges if is_hit else 0),
        }


MIB = 1024 * 1024
LARGE = 705 * 10**6

SCENARIOS = (
    Scenario(
        "A Monday's burst of one monorepo: 10,000 runners restore one entry in a minute, by the hook",
        10_000,
        60,
        {"lookup, hit by a prefix": 1},
        blocks=11,
        ranges=ranges([LARGE]),
    ),
    Scenario(
        "The same without the hook: one GET a restore",
        10_000,
        60,
        {"lookup, hit by a prefix": 1},
        blocks=11,
        ranges=1,
    ),
    Scenario(
        "5,000 repositories: 10,000 jobs in ten minutes restore one entry by the hook, and save another",
        10_000,
        600,
        {"lookup, exact hit": 1, "lookup, miss": 1, "save": 1, "merge": 1},
        blocks=11,
        ranges=ranges([LARGE]),
        repositories=5_000,
        archives=5_000,
    ),
    Scenario(
        "256 BuildKit jobs of one repository: 20 layers looked up, and 4 of 50 MiB saved, in five minutes",
        256,
        300,
        {"lookup, exact hit": 16, "lookup, miss": 4, "save": 4, "merge": 4},
        blocks=50,
        ranges=50,
        archives=20,
    ),
)
