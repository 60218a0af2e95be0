"""A server with something on it to be read, uploaded to and asked for."""

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.guarantees.fuzz.properties import Target
from tests.integration.local_run.local_run import LocalRun
from tests.support.clients.artifact_cache import V1
from tests.support.clients.runtime_token import runtime_token
from tests.support.clients.wire import Job, put_blob, put_block_list

_FAULT = re.compile(r"[\w.]+(Error|FunctionFailed)\b")
"""The last line of a traceback."""

PLAIN = "curl"
"""Of a client that nothing is known of, so that its URLs are ours."""


@contextmanager
def target(directory: Path) -> Iterator[tuple[Target, LocalRun]]:
    """Its merges never run, so archives of several blocks stay in parts."""
    run = LocalRun.start(directory / "data", LOCAL_MERGE_WORKERS="0")
    try:
        run.wait_until_ready()
        job = Job(run.url, runtime_token(), PLAIN)
        job.save("in parts", b"first", b"second")
        job.save("one object", b"all of it")

        def restores() -> None:
            key = uuid.uuid4().hex
            job.save(key, b"before", b"after")
            assert job.restore(key).body == b"beforeafter"
            assert job.restore("one object").body == b"all of it"

        upload = job.reserve("being uploaded")
        assert put_blob(upload, b"a blob").status == 201
        assert put_block_list(job.reserve("another"), []).status == 201
        yield (
            Target(
                run.url,
                job.token,
                upload,
                job.download_url("in parts"),
                job.download_url("one object"),
                V1(run.url, job.token).reserve("being uploaded by v1"),
                restores,
            ),
            run,
        )
    finally:
        run.stop()


def errors_logged(run: LocalRun) -> list[str]:
    """By the server: whatever a client was told, none of it may have surprised us.

    A client that hung up before its request ended isn't our fault, though Starlette makes an error of it.
    """
    log = next((run.data / "logs").glob("server*"))
    return [
        line[-600:]
        for line in log.read_text(errors="replace").splitlines()
        if ('"level":"ERROR"' in line or _FAULT.match(line)) and "ClientDisconnect" not in line
    ]
