"""What AWS asks: list prices in us-east-1, in USD, first tier, without free tiers; each with where it was last seen."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

GIGABYTE = 1e9
"""AWS's has 2^30 bytes, so its bill is up to 7 % lower than this."""

HOURS_A_MONTH = 730
MILLION = 1e6
NOT_CHECKED = "from memory"


@dataclass(frozen=True, slots=True)
class Price:
    usd: float
    per: float
    unit: str
    seen: str
    """Where the price was seen, and when; NOT_CHECKED for none."""

    def of(self, quantity: float) -> float:
        return quantity / self.per * self.usd


def _million(usd: float, unit: str, seen: str) -> Price:
    return Price(usd, MILLION, f"million {unit}", seen)


_CLOUDFRONT = "aws.amazon.com/cloudfront/pricing, a stored copy without a date"
_LETTER = "Amazon's announcement of 2013-04; that it still holds, " + NOT_CHECKED
PRICES: Mapping[str, Price] = {
    "CloudFront to origin": Price(0.02, 1, "GB", NOT_CHECKED),
    "CloudFront to internet": Price(0.085, 1, "GB", _CLOUDFRONT),
    "CloudFront request": Price(0.01, 10_000, "10,000", "factualminds.com, 2026-06"),
    "CloudFront Function": _million(0.10, "runs", "cur.vantage.sh, 2026"),
    "KeyValueStore read": _million(0.03, "reads", NOT_CHECKED),
    "KeyValueStore API": Price(1.00, 1000, "1,000 calls", NOT_CHECKED),
    "S3 write": Price(0.005, 1000, "1,000", _LETTER),
    "S3 read": Price(0.004, 10_000, "10,000", _LETTER),
    "S3 storage": Price(0.023, 1, "GB and month", NOT_CHECKED),
    "S3 to internet": Price(0.09, 1, "GB", "usage.ai, 2026-06"),
    "Lambda call": _million(0.20, "calls", "github.com/api-evangelist/aws-lambda, from AWS's page, 2026-09"),
    "Lambda GB-second": Price(0.0000133334, 1, "GB-second, arm64", "artillery 2.0.28 (npm), prices.js"),
    "Lambda streamed": Price(0.008, 1, "GB, after 6 MB of each answer", NOT_CHECKED),
    "Lambda to internet": Price(0.09, 1, "GB", "as S3 to internet, " + NOT_CHECKED),
    "API Gateway": _million(3.50, "calls", "apigatewaycost.com, 2026"),
    "DynamoDB write": _million(0.625, "units", "airbyte.com, 2025-07"),
    "DynamoDB read": _million(0.125, "units", "airbyte.com, 2025-07"),
    "DynamoDB storage": Price(0.25, 1, "GB and month", NOT_CHECKED),
    "DynamoDB recovery": Price(0.20, 1, "GB and month", NOT_CHECKED),
    "SQS": _million(0.40, "requests", NOT_CHECKED),
    "Scheduler": _million(1.00, "calls", "cloudburn.io, 2026-03"),
    "Secret": Price(0.40, 1, "secret and month", NOT_CHECKED),
    "Secrets Manager": Price(0.05, 10_000, "10,000 calls", NOT_CHECKED),
    "Alarm": Price(0.10, 1, "alarm and month", NOT_CHECKED),
    "Log": Price(0.50, 1, "GB taken in", "factualminds.com, 2026-06"),
    "Log storage": Price(0.03, 1, "GB and month", NOT_CHECKED),
    "Metric": Price(0.30, 1, "metric and month, by the hour", "signoz.io, 2026-02; that hours count, " + NOT_CHECKED),
    "Dashboard": Price(3.00, 1, "dashboard and month", "factualminds.com, 2026-06"),
    "Trace": _million(5.00, "traces", "awsnegotiations.com, without a date"),
}


@dataclass(frozen=True, slots=True)
class Line:
    what: str
    price: str
    quantity: float

    @property
    def usd(self) -> float:
        return PRICES[self.price].of(self.quantity)


def total(lines: Iterable[Line]) -> float:
    return sum(line.usd for line in lines)
