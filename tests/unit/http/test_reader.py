import pytest

from actions_cache.http.app import client_reads_from_s3


@pytest.mark.parametrize(
    ("user_agent", "can_read"),
    [
        ("@actions/cache-6.3.0", True),
        ("opendal/0.47.12", True),
        ("sccache/0.16.0", True),
        ("Go-http-client/1.1", False),
        ("azsdk-python-storage-blob/12.31", False),
        ("", False),
        ("curl @actions/cache-6.3.0", False),
    ],
)
def test_only_known_clients_can_read_from_s3(user_agent, can_read):
    assert client_reads_from_s3(user_agent) is can_read
