"""Deploys the built template into MiniStack by `sam deploy`, and acts on it as a deployer and as a job."""

import base64
import json
import os
import platform
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import boto3
import urllib3

from dev.local.localhost import resolve_names_under_localhost
from tests.aws.deploy.issuer import HttpsIssuer

ROOT = Path(__file__).parents[3]
BUILT = ROOT / ".aws-sam" / ("build" if platform.machine() == "aarch64" else "x86_64/build") / "template.yaml"
EMULATED = BUILT.with_name("emulated.yaml")
"""The built template without streaming, since the emulator has no Lambda Web Adapter; it stands beside its packages."""
PARAMETERS = {
    "Architecture": "arm64" if platform.machine() == "aarch64" else "x86_64",
    # The emulator knows no layer of another account, and no Lambda Web Adapter.
    "StreamDownloads": "false",
    "TokenClaims": "any",
    # The shortest there are, so that a test sees parts outlive their merge and go: 2 x 10 + 30 + 30 s of grace.
    "DownloadUrlSeconds": "10",
    "MaxStreamSeconds": "30",
    "CleanupIntervalMinutes": "2",
}
SERVICE = "github.actions.results.api.v1.CacheService"

T = TypeVar("T")


def eventually(ask: Callable[[], T | None], *, seconds: float, every: float = 0.5) -> T:
    """Ask until the answer isn't None or False, and return it.

    Raises:
        AssertionError: There is none in time.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if answer := ask():
            return answer
        time.sleep(every)
    raise AssertionError(f"still not so after {seconds} s")


def client_of(endpoint: str, service: str) -> Any:
    # The stubs know only services named literally.
    return boto3.Session("test", "test", region_name="us-east-1").client(service, endpoint_url=endpoint)  # type: ignore[call-overload]


def aws_variables(endpoint: str) -> dict[str, str]:
    """Return the environment variables by which AWS's tools use the emulator."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


def run_unattended(command: Sequence[str | Path], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command without a terminal."""
    return subprocess.run(
        command, env=environment, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


@dataclass(frozen=True)
class Answer:
    status: int
    headers: urllib3.HTTPHeaderDict
    body: bytes

    def json(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.body)
        return answer


class Emulator:
    """MiniStack under the functions' own Python, without data of earlier runs."""

    def __init__(self, directory: Path, certificate: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.endpoint = f"http://localhost:{port}"
        self._log = (directory / "ministack.log").open("wb")
        self._process = subprocess.Popen(
            [ROOT / ".tools" / "deployment" / "bin" / "ministack"],
            env=os.environ
            | {
                "GATEWAY_PORT": str(port),
                "BIND_HOST": "127.0.0.1",
                "MINISTACK_HOST": "localhost",
                "IOT_MTLS_ENABLED": "0",
                "SFTP_ENABLED": "0",
                "PERSIST_STATE": "0",
                "STATE_DIR": str(directory / "state"),
                # Deployed functions inherit them, and so trust the issuer, and find the edge's KeyValueStore.
                "SSL_CERT_FILE": str(certificate),
                "PYTHONPATH": str(ROOT / "tests" / "support" / "resolver"),
                "AWS_ENDPOINT_URL_CLOUDFRONT_KEYVALUESTORE": self.endpoint,
            },
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        pool = urllib3.PoolManager()
        try:
            pool.request("GET", self.endpoint, retries=urllib3.Retry(connect=10, backoff_factor=0.1), timeout=5)
        finally:
            pool.clear()

    def stop(self) -> None:
        """Stop it with the workers of its functions, which are in its process group."""
        os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._log.close()


class Stack:
    """A stack in the emulator.

    Args:
        name: The stack's name.
        endpoint: The emulator's URL.
        issuer: The issuer of its jobs' tokens.
        parameters: Parameters that an update keeps.
    """

    def __init__(self, name: str, endpoint: str, issuer: HttpsIssuer, parameters: dict[str, str]) -> None:
        self.name = name
        self.endpoint = endpoint
        self.issuer = issuer
        self._parameters = PARAMETERS | {"TokenIssuers": issuer.url} | parameters
        self._edge_headers: dict[str, str] = {}
        self._http = urllib3.PoolManager()

    def client(self, service: str) -> Any:
        return client_of(self.endpoint, service)

    def close(self) -> None:
        self._http.clear()

    # ---------------------------------------------------------------- as the deployer

    def sam(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._run(ROOT / ".tools" / "sam" / "bin" / "sam", *arguments)

    def operate(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of the operator's commands."""
        return self._run(sys.executable, "-m", "actions_cache_cli", *arguments, "--stack", self.name)

    def _run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        return run_unattended(command, os.environ | aws_variables(self.endpoint) | {"SAM_CLI_TELEMETRY": "0"})

    def deploy(self, template: Path = EMULATED, **parameters: str) -> subprocess.CompletedProcess[str]:
        given = self._parameters | parameters
        return self.sam(
            "deploy",
            *("--template-file", str(template), "--stack-name", self.name, "--resolve-s3", "--no-confirm-changeset"),
            *("--capabilities", "CAPABILITY_IAM", "--no-fail-on-empty-changeset"),
            *("--parameter-overrides", *(f"{name}={value}" for name, value in given.items())),
        )

    @staticmethod
    def write_template() -> None:
        streaming = "ResponseTransferMode: RESPONSE_STREAM\n"
        text = BUILT.read_text()
        assert text.count(streaming) == 1, "GET of a download"
        # The emulator counts with the parameter's value, which is text.
        workers = re.compile(r"MaximumConcurrency:\s+(!Ref |Ref: )MergeWorkers")
        assert len(workers.findall(text)) == 1
        EMULATED.write_text(workers.sub("MaximumConcurrency: 20", text.replace(streaming, "\n")))

    @property
    def status(self) -> str:
        return str(self.client("cloudformation").describe_stacks(StackName=self.name)["Stacks"][0]["StackStatus"])

    def output(self, key: str) -> str:
        [stack] = self.client("cloudformation").describe_stacks(StackName=self.name)["Stacks"]
        return str({output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}[key])

    def resource(self, logical_id: str) -> str:
        found = self.client("cloudformation").describe_stack_resource(StackName=self.name, LogicalResourceId=logical_id)
        return str(found["StackResourceDetail"]["PhysicalResourceId"])

    def distribution(self) -> dict[str, Any]:
        """Return the edge's settings."""
        found = self.client("cloudfront").get_distribution(Id=self.resource("Edge"))["Distribution"]
        config: dict[str, Any] = found["DistributionConfig"]
        return config | {"DomainName": found["DomainName"]}

    def says_edge_key(self) -> str:
        """Make requests as the edge does, by the key that it sends to the API, and return that key."""
        [api] = [origin for origin in self.distribution()["Origins"]["Items"] if origin["Id"] == "api"]
        [header] = api["CustomHeaders"]["Items"]
        self._edge_headers = {header["HeaderName"]: header["HeaderValue"]}
        return str(header["HeaderValue"])

    def key_values(self, arn: str) -> dict[str, str]:
        """Return the contents of a KeyValueStore."""
        resolve_names_under_localhost()
        listed = self.client("cloudfront-keyvaluestore").list_keys(KvsARN=arn)["Items"]
        return {item["Key"]: item["Value"] for item in listed}

    def deployed(self, function: str) -> dict[str, Any]:
        """Return a function's configuration."""
        name = self.resource(function)
        configuration: dict[str, Any] = self.client("lambda").get_function_configuration(FunctionName=name)
        return configuration

    def log_level(self, function: str) -> str:
        return str(self.deployed(function)["LoggingConfig"]["ApplicationLogLevel"])

    def keys(self, prefix: str = "archives/") -> list[str]:
        listed = self.client("s3").list_objects_v2(Bucket=self.output("BucketName"), Prefix=prefix)
        return [row["Key"] for row in listed.get("Contents", ())]

    # ---------------------------------------------------------------- as a job

    @property
    def api_url(self) -> str:
        """Return MiniStack's URL for the stack's ApiUrl."""
        api = urlsplit(self.output("ApiUrl"))
        return f"{self.endpoint}/restapis/{api.netloc.split('.')[0]}{api.path}/_user_request_"

    def request(
        self, method: str, url: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """Send a request to a path of the API, or to a URL of the API or of S3."""
        parts = urlsplit(url)
        if parts.path.startswith(("/blobs", "/twirp", "/health")):
            url = f"{self.api_url}{parts.path}?{parts.query}"
        # API Gateway tells binary bodies by these, and MiniStack has no default for what a client leaves out.
        named = {"Accept": "*/*", "Content-Type": "application/octet-stream"} | self._edge_headers | (headers or {})
        answer = self._http.request(method, url, body=body or None, headers=named, redirect=False, timeout=60)
        return Answer(answer.status, answer.headers, answer.data)

    def call(self, method: str, **fields: Any) -> Answer:
        headers = {
            "Authorization": f"Bearer {self.issuer.token()}",
            "Content-Type": "application/json",
            "User-Agent": "@actions/cache-6.3.0",
        }
        body = json.dumps({"version": "v1"} | fields).encode()
        return self.request("POST", f"/twirp/{SERVICE}/{method}", body, headers)

    def save(self, key: str, blocks: Sequence[bytes]) -> None:
        url = self.call("CreateCacheEntry", key=key).json()["signed_upload_url"]
        ids = [base64.b64encode(f"{number:048}".encode()).decode() for number in range(len(blocks))]
        for block_id, block in reversed(list(zip(ids, blocks, strict=True))):
            put = self.request("PUT", f"{url}&comp=block&blockid={quote(block_id)}", block)
            assert put.status == 201, put
        listed = "".join(f"<Latest>{block_id}</Latest>" for block_id in ids)
        put = self.request("PUT", f"{url}&comp=blocklist", f"<BlockList>{listed}</BlockList>".encode())
        assert put.status == 201, put
        size = sum(len(block) for block in blocks)
        saved = self.call("FinalizeCacheEntryUpload", key=key, size_bytes=str(size))
        assert saved.json().get("ok") is True, saved

    def look_up(self, key: str) -> str | None:
        """Return the download URL."""
        found = self.call("GetCacheEntryDownloadURL", key=key).json()
        return str(found["signed_download_url"]) if found["ok"] else None

    def restore(self, key: str) -> bytes:
        url = self.look_up(key)
        assert url is not None
        answer = self.request("GET", url)
        if answer.status == 302:
            answer = self.request("GET", answer.headers["Location"])
        assert answer.status == 200, answer
        return answer.body

    def merged_url(self, key: str) -> str | None:
        """Return the lookup's URL once it is S3's own."""
        url = self.look_up(key)
        return url if url is not None and "X-Amz-Signature" in url else None
