"""The context that Lambda hands to a handler beside the event."""

import time
from dataclasses import dataclass, field
from uuid import uuid4


@dataclass(frozen=True)
class LambdaContext:
    """Args: timeout_seconds: as the template declares it."""

    function_name: str
    memory_limit_in_mb: int
    timeout_seconds: float
    region: str
    function_version: str = "$LATEST"
    aws_request_id: str = field(default_factory=lambda: str(uuid4()))
    started_at: float = field(default_factory=time.monotonic)

    @property
    def invoked_function_arn(self) -> str:
        return f"arn:aws:lambda:{self.region}:{'0' * 12}:function:{self.function_name}"

    @property
    def log_group_name(self) -> str:
        return f"/aws/lambda/{self.function_name}"

    @property
    def log_stream_name(self) -> str:
        return self.function_version

    def get_remaining_time_in_millis(self) -> int:
        left = self.started_at + self.timeout_seconds - time.monotonic()
        return max(0, int(left * 1000))
