"""A new environment's first lookup takes little more processor time than its import, most of it before the request."""

import json
import os
import subprocess
import sys
from base64 import b64decode
from pathlib import Path

import pytest

from actions_cache.startup import BY_LAMBDA
from dev.clients.driver import CacheDriver, name
from dev.local.template import ROOT
from tests.support import lambda_events

PROCESS = """
import json, sys, time
from types import SimpleNamespace
times = [time.process_time()]
from functions.api import handler
times.append(time.process_time())
context = SimpleNamespace(
    function_name="f", memory_limit_in_mb=1024, invoked_function_arn="arn", aws_request_id="1",
    get_remaining_time_in_millis=lambda: 30000,
)
answer = handler.lambda_handler(json.load(open(sys.argv[1])), context)
times.append(time.process_time())
assert json.loads(answer["body"])["ok"], answer
print(json.dumps([later - earlier for earlier, later in zip(times, times[1:])]))
"""


def seconds(event: Path, variables: dict[str, str], *, lazily: bool) -> tuple[float, float]:
    """Return the processor time of the import and of the first lookup, in a new process."""
    environment = os.environ | variables | {"PYTHONPATH": f"{ROOT}:{ROOT / 'layers' / 'core'}"}
    environment |= {} if lazily else {BY_LAMBDA: "on-demand"}
    command = [sys.executable, "-c", PROCESS, str(event)]
    ran = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True)
    started, looked_up = json.loads(ran.stdout.splitlines()[-1])
    return started, looked_up


@pytest.mark.slow
def test_first_lookup_adds_little_to_the_import(on_emulators: CacheDriver, tmp_path: Path):
    event = lambda_events.call("lookup", key="cold", restore_keys=[])
    (tmp_path / "event.json").write_text(json.dumps(event))
    version = json.loads(b64decode(event["body"]))["version"]
    on_emulators.save(name("cold", "refs/pull/7/merge", version, "123456789"), b"content")
    variables = {**on_emulators.variables, "VERIFY_TOKENS": "0", "TOKEN_CLAIMS": "any"}
    # The least of several, since the machine does other work too.
    bare = min(seconds(tmp_path / "event.json", variables, lazily=True)[0] for _ in range(3))
    pairs = [seconds(tmp_path / "event.json", variables, lazily=False) for _ in range(3)]
    assert min(looked_up for _, looked_up in pairs) < 0.1 * bare
    # Here a client for S3 is made twice, as for every store that isn't AWS.
    assert min(started + looked_up for started, looked_up in pairs) < 1.5 * bare
