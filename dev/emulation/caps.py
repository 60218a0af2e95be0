"""What AWS lets one request do on its way through API Gateway and a Lambda that streams."""

from dataclasses import dataclass, replace

MB = 1000 * 1000

SLACK_SECONDS = 0.1
"""How far a pace may be behind and still catch up; what a longer stall leaves unused is lost."""


@dataclass(frozen=True, kw_only=True)
class Caps:
    """Bytes, and seconds. As they come: AWS's own numbers, the stricter reading where there are two.

    https://docs.aws.amazon.com/lambda/latest/dg/configuration-response-streaming.html and
    https://docs.aws.amazon.com/apigateway/latest/developerguide/response-transfer-mode.html
    """

    lambda_burst: int = 6 * MB
    gateway_burst: int = 10 * MB
    per_second: int = 2 * MB
    """Behind its burst, of Lambda and API Gateway each."""
    max_stream: int = 200 * MB
    """Lambda's wall: what comes then is lost, and the connection with it."""
    gateway_request: int = 10 * MB
    lambda_payload: int = 6 * MB
    """Of a request, and of a response that doesn't stream."""
    headers_seconds: float = 29
    """API Gateway's patience until a response begins."""
    total_seconds: float = 15 * 60

    @property
    def lambda_binary(self) -> int:
        """API Gateway hands binary bodies over in base64."""
        return self.lambda_payload * 3 // 4

    def scaled(self, *, sizes: float = 1, speed: float = 1) -> "Caps":
        """Streams that are so many times as long, and as fast, as AWS's."""
        return replace(
            self,
            lambda_burst=int(self.lambda_burst * sizes),
            gateway_burst=int(self.gateway_burst * sizes),
            max_stream=int(self.max_stream * sizes),
            per_second=int(self.per_second * speed),
        )

    def as_settings(self) -> dict[str, str]:
        """The delivery rule's settings that describe these caps, as near to the wall as the template's are to AWS's."""
        return {
            "STREAM_MAX_BYTES": str(self.max_stream * 995 // 1000),
            "STREAM_BURST_BYTES": str(self.lambda_burst),
            "STREAM_BYTES_PER_SECOND": str(self.per_second),
        }


class Pace:
    """A token bucket that is filled once with the burst, and then only as fast as it is emptied."""

    def __init__(self, burst: int, per_second: int) -> None:
        self._burst = burst
        self._per_second = per_second
        self._passed_at = 0.0

    def delay(self, size: int, now: float) -> float:
        """How many seconds from `now`, of a clock that only rises, so many more bytes are to be kept back."""
        free = min(size, self._burst)
        self._burst -= free
        self._passed_at = max(now - SLACK_SECONDS, self._passed_at) + (size - free) / self._per_second
        return max(0.0, self._passed_at - now)
