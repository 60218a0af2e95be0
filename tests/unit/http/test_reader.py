import pytest

from actions_cache.http.app import HESTIA_VERSION, client_reads_from_s3
from dev.clients import hestia, wire


@pytest.mark.parametrize(
    ("user_agent", "can_read"),
    [
        ("@actions/cache-6.3.0", True),
        ("actions/cache", True),
        ("hestia", True),
        ("opendal/0.47.12", True),
        ("sccache/0.16.0", True),
        ("Go-http-client/1.1", False),
        ("go-actions-cache/1.0", False),
        ("gha-cache/0.1.0", False),
        ("azsdk-python-storage-blob/12.31", False),
        ("", False),
        ("curl @actions/cache-6.3.0", False),
    ],
)
def test_only_known_clients_can_read_from_s3(user_agent, can_read):
    assert client_reads_from_s3(user_agent, wire.VERSION) is can_read


def test_nameless_hestia_is_known_by_its_version():
    assert hestia.VERSION == HESTIA_VERSION
    assert client_reads_from_s3("", hestia.VERSION)
    assert not client_reads_from_s3("", hestia.VERSION[:-1])
