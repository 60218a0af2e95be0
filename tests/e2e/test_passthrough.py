"""upload-artifact's requests, as @actions/artifact 6.2.1 sent them, through the local run to a results service."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from dev.clients.wire import SERVICE, Job, send
from tests.support.fake_results_service import FakeResultsService, running_results_service

ARTIFACTS = "/twirp/github.actions.results.api.v1.ArtifactService"
JSON = "application/json"
RUN = b'"workflow_run_backend_id":"run-1","workflow_job_run_backend_id":"job-2"'
NEW = b',"name":"my-artifact","expires_at":"2026-11-26T06:16:20.947Z","version":7,"mime_type":"application/zip"'
DIGEST = b"dc89774f2f27b1e4be97821817a908e900bf510f2b23c542ab5dce0dd16de86d"
RECORDED = {
    "CreateArtifact": (JSON, b"{" + RUN + NEW + b"}"),
    "FinalizeArtifact": (JSON, b"{" + RUN + b',"name":"my-artifact","size":"148","hash":"sha256:' + DIGEST + b'"}'),
    "ListArtifacts": (JSON, b"{" + RUN + b"}"),
    "in protobuf": ("application/protobuf", b"\x0a\x05run-1\x12\x05job-2\x1a\x0bmy-artifact\x28\x07\xff\x00"),
}


@pytest.fixture
def fake_service(results_service_port: int) -> Iterator[FakeResultsService]:
    with running_results_service(results_service_port) as service:
        yield service


@pytest.fixture
def job(unmerged_job: Job) -> Job:
    return unmerged_job


@pytest.mark.parametrize("name", RECORDED)
def test_artifact_requests_are_forwarded_unchanged(job, fake_service, name):
    content_type, body = RECORDED[name]
    path = f"{ARTIFACTS}/{name.replace(' ', '')}"
    client = {"authorization": f"Bearer {job.token}", "content-type": content_type, "user-agent": "@actions/artifact"}
    reply = send("POST", f"{job.server}{path}", body, client)
    [asked] = fake_service.asked
    assert (asked.line, asked.body) == (f"POST {path} HTTP/1.1".encode(), body)
    # Not the host that the edge tells the API.
    assert {key.decode().lower(): value.decode() for key, value in asked.headers} == client | {
        "host": urlsplit(fake_service.url).netloc,
        "content-length": str(len(body)),
        "cdn-loop": "serverless-actions-cache",
    }
    assert (reply.status, reply.body) == (200, b"{}")
    assert reply.headers["X-GitHub-Request-Id"] == "1"
    assert reply.headers["Set-Cookie"] is None
    assert len(reply.headers.get_all("Date", [])) == 1


def test_cache_requests_are_not_forwarded(job, fake_service):
    job.save("key", b"first ", b"second")
    assert job.restore("key").body == b"first second"
    assert job.look_up("none") == {"ok": False, "signed_download_url": "", "matched_key": ""}
    assert fake_service.asked == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", f"/twirp/{SERVICE}/DeleteEverything"),
        ("POST", f"/twirp/x/../{SERVICE}/CreateCacheEntry"),
        ("POST", f"/twirp//{SERVICE}/CreateCacheEntry"),
        ("POST", f"/twirp/{SERVICE.replace('.', '%2e')}/CreateCacheEntry/"),
        ("POST", "/repos/o/r/actions/caches/1"),
        ("POST", "/api/v3/x"),
        ("POST", "/x/%2e%2e/health"),
        ("PUT", "/blobs/elsewhere/1?sig=secret"),
        ("PUT", "/x/..%2fblobs/upload/1?sig=secret"),
    ],
)
def test_reserved_paths_are_not_forwarded(job, fake_service, method, path):
    reply = send(method, f"{job.server}{path}", b"{}", {"Authorization": f"Bearer {job.token}", "Content-Type": JSON})
    assert reply.status in (404, 405)
    assert fake_service.asked == []
