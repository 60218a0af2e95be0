"""Right bytes from the local run, its store behind the faulty one: edge, functions, queue and worker as they are."""

import random
from concurrent.futures import ThreadPoolExecutor

from actions_cache.domain.merge_plan import MIB
from tests.guarantees.faults.kinds import (
    INTERNAL_ERROR,
    SLOW_DOWN,
    ends_after,
    other_bytes,
    reset_after,
    stalls_after,
)
from tests.guarantees.faults.scene import MANIFEST_READ, PARTS_READ, read
from tests.guarantees.faults.store import FaultyStore, always, copies, in_turn, reads_of
from tests.guarantees.faults.storing import one_bit, stores
from tests.support.clients.server import running_server
from tests.support.clients.wire import GO, Job

BLOCKS = [random.Random(i).randbytes(12 * MIB) for i in range(5)]
CONTENT = b"".join(BLOCKS)
READERS = 8


def test_readers_of_a_local_run_get_every_byte_through_faults_before_and_after_a_merge_through_faults(
    endpoints, tmp_path
):
    faulty = FaultyStore(endpoints)
    with faulty.served() as store_url:
        settings = {
            "STORE_ENDPOINT_URL": store_url,
            "AWS_ACCESS_KEY_ID": endpoints.credentials.access_key_id,
            "AWS_SECRET_ACCESS_KEY": endpoints.credentials.secret_access_key,
            "AWS_REGION": endpoints.region,
        }
        with running_server(tmp_path / "run", settings) as server, ThreadPoolExecutor(READERS) as executor:
            job = Job(server, user_agent=GO)
            faulty.on(copies, always(INTERNAL_ERROR))
            job.save("npm", *BLOCKS)
            url = job.download_url("npm")
            faulty.on(MANIFEST_READ, in_turn(other_bytes(120), SLOW_DOWN))
            faults = [reset_after(MIB), ends_after(MIB), SLOW_DOWN, INTERNAL_ERROR, reset_after(0), stalls_after(MIB)]
            faulty.on(PARTS_READ, in_turn(*faults * READERS))
            assert list(executor.map(read, [url] * READERS)) == [CONTENT] * READERS
            assert faulty.met >= len(faults) * READERS

            faulty.heal()
            faulty.on(copies, in_turn(SLOW_DOWN, stores(one_bit, endpoints), reset_after(0), ends_after(20)))
            job.wait_until_merged("npm")
            faulty.on(reads_of("/merged/"), in_turn(reset_after(MIB), ends_after(MIB)))
            assert [read(job.download_url("npm")) == expected for expected in (None, None, CONTENT)] == [True] * 3
            assert Job(server).restore("npm").body == CONTENT
