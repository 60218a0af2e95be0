"""Calls the API function as Lambda does, one event after the other, and prints the most memory it was seen to hold."""

import os
import sys
from typing import Any

from dev.bench.memory_usage import most_resident
from dev.local.lambda_runtime import LambdaContext
from functions.api.handler import lambda_handler
from tests.support import lambda_events


def main() -> None:
    context: Any = LambdaContext("ApiFunction", 1024, 29, "us-east-1")
    restore_keys = [f"none-{number}" for number in range(5)]
    for number in range(int(sys.argv[1])):
        for event in (
            lambda_events.call("create-entry", key=f"memory-{number}"),
            lambda_events.call("lookup", key=f"memory-{number}", restore_keys=restore_keys),
        ):
            answer = lambda_handler(event, context)
            if answer["statusCode"] != 200:
                raise RuntimeError(answer)
    print(most_resident(os.getpid()))


if __name__ == "__main__":
    main()
