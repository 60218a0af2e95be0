"""Judges the server: the way to it, its certificates, who answers there, and whether a small entry comes back."""

from __future__ import annotations

import hashlib
import os
import secrets
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from actions_cache_cli.doctor.address import (
    NO_TLS,
    TLS_KINDS,
    TO_DO,
    Address,
    NoAnswer,
    connect,
    explain_tls_error,
)
from actions_cache_cli.doctor.job import CLOCK_MARGIN_SECONDS
from actions_cache_cli.doctor.probe import (
    CLOUDFRONT,
    CREATED,
    HTML,
    NO_CONTENT,
    OK_STATUS,
    OTHER,
    UNAUTHENTICATED,
    Client,
    Job,
    Refused,
    Reply,
    download,
    identify,
    message_of,
    read_health,
    seconds_ahead,
)
from actions_cache_cli.doctor.report import Finding, ok, quoted, trouble, unknown, warning
from actions_cache_cli.doctor.runner import TlsView

# ---------------------------------------------------------------- the way to it

EXTRA = "NODE_EXTRA_CA_CERTS"


def judge_connection(address: Address, *, is_container: bool) -> Finding:
    """Judge whether the name has an address where something takes connections."""
    title = "connection"
    try:
        peer, _ = connect(address, with_tls=False)
    except NoAnswer as error:
        if is_container and address.is_loopback:
            inside = "and in a container this address is the container itself, not the machine"
            return trouble(
                title, f"{error}; {inside}", "write the machine's own address into the URL, or start the server here"
            )
        return trouble(title, str(error), TO_DO[error.kind])
    return ok(title, f"to {peer}, port {address.port}")


def system_error(address: Address) -> tuple[str, str] | None:
    """Return the kind and the words of what the system's authorities have against the server; None if they trust it.

    Raises:
        NoAnswer: It isn't reached at all.
    """
    try:
        connect(address, with_tls=True)
    except NoAnswer as error:
        if error.kind in TLS_KINDS:
            return error.kind, str(error)
        raise
    return None


def trust(variables: Mapping[str, str]) -> ssl.SSLContext:
    """Return a context that trusts the system's authorities and those that node was given."""
    context = ssl.create_default_context()
    extra = variables.get(EXTRA)
    if extra and Path(extra).is_file():
        try:
            context.load_verify_locations(extra)
        except (OSError, ssl.SSLError):
            # Node says so itself.
            return context
    return context


def judge_certificates(
    address: Address, system: tuple[str, str] | None, by_node: TlsView | None, extra: str
) -> list[Finding]:
    """Judge whether the authority that signs for the host is known here.

    Args:
        address: The server's address.
        system: Kind and words of what the system's authorities have against it, if anything.
        by_node: Node's view; None if there is no node.
        extra: The value of NODE_EXTRA_CA_CERTS.
    """
    title = "node's certificates"
    findings = [_judge_system(system, by_node)]
    if by_node is None:
        return [*findings, unknown(title, "there is no node here; actions have the runner's")]
    if by_node.error is None:
        return [*findings, ok(title, "trusted by node, as actions run it")]
    kind, said = explain_tls_error(by_node.error, address)
    if kind == NO_TLS:
        # No authority helps where the port answers in plain HTTP.
        return [*findings, trouble(title, said, TO_DO[kind])]
    signed = f", signed by {by_node.issuer}" if by_node.issuer else ""
    if not extra:
        remedy = f"put that authority's certificate into a file, and {EXTRA}=/its/path into the runner's .env"
    elif not Path(extra).is_file():
        signed += f"; {EXTRA} is {extra}, which isn't a file here, so node goes on without it"
        remedy = "correct the path, or put that authority's certificate there"
    else:
        signed += f"; {EXTRA} is {extra}, which doesn't hold that authority"
        remedy = "add its certificate to that file"
    return [*findings, trouble(title, f"{said}{signed}", remedy)]


def _judge_system(error: tuple[str, str] | None, by_node: TlsView | None) -> Finding:
    title = "system's certificates"
    if error is None:
        return ok(title, "trusted by this machine")
    kind, said = error
    if by_node is not None and by_node.error is None:
        return trouble(
            title,
            f"{said}. Node trusts it, so @actions/cache works; others, as BuildKit and sccache, don't",
            "add the authority to the system's (update-ca-certificates), and to the image of BuildKit",
        )
    return trouble(title, said, TO_DO[kind])


# ---------------------------------------------------------------- who answers there

ARTIFACTS = "/twirp/github.actions.results.api.v1.ArtifactService/ListArtifacts"
"""Path of a question that changes nothing, whatever the answer."""
RIGHT_HOST = "compare the URL with the stack's output RunnerUrl, and look at what else answers on the way"
V1 = "/_apis/artifactcache/"
"""Path that clients of the v1 API put behind ACTIONS_CACHE_URL."""


def judge_health(reply: Reply) -> Finding:
    """Judge the answer to GET /health."""
    title = "server"
    health = read_health(reply)
    if health.is_ok:
        return ok(title, f"this project's, {health.release}, and its table, bucket and queue answer")
    if health.errors:
        return trouble(title, f"this project's, but unwell: {health.errors}", "whoever runs it should see its logs")
    return trouble(
        title,
        f"what answers isn't this project's server, or not whole: /health says {explain(reply)}",
        RIGHT_HOST,
    )


def judge_dialect(reply: Reply) -> Finding:
    """Judge the answer to a cache call without a token."""
    title = "cache API"
    said = reply.json
    if reply.status == UNAUTHENTICATED and said.get("code") == "unauthenticated":
        return ok(title, "it refuses a call without a token, in the cache service's words")
    if reply.status == UNAUTHENTICATED and "msg" in said:
        return trouble(title, f"a results service, but not this one: it says {quoted(str(said['msg']))}", RIGHT_HOST)
    return trouble(
        title, f"a call without a token must get a 401 of the cache service, not {explain(reply)}", RIGHT_HOST
    )


def judge_clock(reply: Reply) -> Finding:
    """Judge this machine's clock by the answer's Date."""
    title = "clock"
    ahead = seconds_ahead(reply)
    if ahead is None:
        return unknown(title, "the answer has no Date")
    if abs(ahead) <= CLOCK_MARGIN_SECONDS:
        return ok(title, f"within {CLOCK_MARGIN_SECONDS} s of the server's")
    side = f"{ahead:.0f} s ahead of" if ahead > 0 else f"{-ahead:.0f} s behind"
    return trouble(
        title,
        f"this machine is {side} the server. BuildKit judges its token by this clock, and every program certificates; "
        "the server judges tokens and URLs by its own",
        "set the clock that is wrong (on the machine: timedatectl)",
    )


def judge_sums(own: Mapping[str, str], served: Mapping[str, Reply]) -> Finding:
    """Compare the files of this machine's hook with those that the server has.

    Args:
        own: SHA-256 sums by the files' names.
        served: The server's answers for them.
    """
    title = "age of the hook"
    unsaid = [name for name, reply in served.items() if reply.status != OK_STATUS]
    if unsaid:
        return unknown(title, f"the server has no sum of {', '.join(unsaid)}; it may be older than the hook")
    other = [name for name, reply in served.items() if reply.text.split()[:1] != [own[name]]]
    if other:
        return warning(
            title,
            f"{', '.join(other)} isn't the file of the server's release: one of the two is older, or it was changed",
            "copy the hook's files from the release that the server runs",
        )
    return ok(title, f"{', '.join(own)}: the same as the server's")


def judge_others(reply: Reply, *, with_token: bool) -> Finding:
    """Judge the cache server's answer to a question for the artifact service.

    Args:
        reply: The answer.
        with_token: Whether a job's token was sent; the server passes nothing on without one.
    """
    title = "other services"
    said = reply.json
    code, message = str(said.get("code", "")), str(said.get("msg", ""))
    if code == "bad_route":
        return warning(
            title,
            "the cache works, but upload-artifact and job summaries don't: they use the same variable, and this server "
            "passes nothing on",
            "set its RESULTS_SERVICE_URL to https://results-receiver.actions.githubusercontent.com; the local run "
            "leaves it unset on purpose",
        )
    if reply.status == 502 and code == "unavailable":  # noqa: PLR2004 - Bad Gateway
        return trouble(
            title,
            f"upload-artifact would fail: {quoted(message)}",
            "whoever runs the server should compare its RESULTS_SERVICE_URL, and whether it is reached from there",
        )
    if reply.status == UNAUTHENTICATED and not with_token:
        return unknown(title, "this server only passes on jobs' requests; a job's token tells more")
    if reply.status == UNAUTHENTICATED:
        return unknown(title, f"the token is refused, by this server or behind it: {quoted(message)}")
    if reply.status < 500:  # noqa: PLR2004 - a refusal shows that the service is there
        return ok(title, f"passed on: the artifact service answers with {reply.status}")
    return unknown(title, f"the artifact service's path gets {explain(reply)}")


def explain(reply: Reply) -> str:
    """Say who gave an answer that wasn't the wanted one, and what it means."""
    answer = identify(reply)
    if answer.source == CLOUDFRONT and "Request blocked" in reply.text:
        return f"{reply.status} of a firewall: the server's web ACL doesn't know this machine's address"
    if answer.source == CLOUDFRONT:
        return f"{reply.status} of CloudFront's own: no distribution lists this name, or its origin doesn't answer"
    if answer.source == HTML:
        return (
            f"{answer.words}: this server never sends HTML, so something else answers, a proxy or sign-in page on the "
            "way, or a wrong host"
        )
    if answer.source == OTHER and 300 <= reply.status < 400:  # noqa: PLR2004 - redirects
        return f"{reply.status} to {quoted(reply.headers.get('location', ''))}: clients don't follow it in a POST"
    return answer.words


# ---------------------------------------------------------------- a lookup, a save and a restore with the job's token

SAVED_BYTES = 65536

USER_AGENT = "@actions/cache-6.3.0 (actions-cache-doctor)"
"""Name of the client that most jobs use; the server gives each kind of client the URL that it can read from."""

LOOKUP = "lookup"
LOOKUP_V1 = "lookup by v1"
SAVE = "save and restore"

HINTS = {
    401: "give it this job's own token, whole",
    403: "look at the token's scopes, and at whose jobs the server lets in (TOKEN_CLAIMS; `actions-cache refused`)",
    503: "try again, then see /health",
}
SEE_LOGS = "try again; if it stays so, whoever runs the server should see its logs"


def new_job(client: Client, server: Address, token: str) -> Job:
    """Return a job whose entries have a version that no other client uses."""
    return Job(client, server.base, token, hashlib.sha256(b"actions-cache-doctor").hexdigest(), USER_AGENT)


@dataclass(frozen=True)
class Trial:
    """Tries a job's token on a key that nobody has saved."""

    job: Job
    key: str

    @classmethod
    def of(cls, job: Job) -> Trial:
        return cls(job, f"actions-cache-doctor-{secrets.token_hex(8)}")

    def judge_lookup(self) -> Finding:
        """Judge the lookup of the key, which must be a miss."""
        try:
            message = self.job.look_up(self.key)
        except (Refused, NoAnswer) as error:
            return trouble(LOOKUP, _in_words(error), _to_do(error))
        if message.get("ok"):
            found = f"an entry was found for a key that nobody saved: {quoted(str(message))}"
            return trouble(LOOKUP, found, RIGHT_HOST)
        return ok(LOOKUP, "the server takes the token, and a key that nobody saved is a miss")

    def judge_lookup_by_v1(self, *, is_used: bool) -> Finding:
        """Judge the same lookup as @actions/cache 3 asks it.

        Args:
            is_used: Whether this job's clients use v1; otherwise trouble is only a warning.
        """
        query = urlencode({"keys": self.key, "version": self.job.version})
        headers = {"Accept": "application/json;api-version=6.0-preview.1", "User-Agent": "actions/cache"}
        url = f"{self.job.base}{V1}cache?{query}"
        try:
            reply = self.job.client.ask("GET", url, None, headers | self.job.authorization)
        except NoAnswer as error:
            found, to_do = str(error), TO_DO[error.kind]
        else:
            if reply.status == NO_CONTENT:
                return ok(LOOKUP_V1, "a key that nobody saved is a miss there too")
            found = f"the v1 API must answer 204 to a key that nobody saved, not {explain(reply)}"
            to_do = _hint(reply)
        if is_used:
            return trouble(LOOKUP_V1, found, to_do)
        return warning(LOOKUP_V1, f"{found}; this job doesn't use v1, those of GHES, Gitea and act do", to_do)

    def judge_save(self) -> Finding:
        """Save random bytes under the key, restore them, and judge whether they are the same."""
        content = os.urandom(SAVED_BYTES)
        try:
            self._save(content)
            found = self._restore()
        except (Refused, NoAnswer) as error:
            return trouble(SAVE, _in_words(error), _to_do(error))
        if found != content:
            changed = f"{len(found)} bytes came back for {len(content)} saved, and not the same ones"
            return trouble(
                SAVE, changed, "look for a proxy that changes bodies, then run `actions-cache verify --deep`"
            )
        return ok(
            SAVE,
            f"{len(content)} bytes came back as they were saved; the entry {self.key} stays until the server's cleanup "
            "removes it as unused",
        )

    def _save(self, content: bytes) -> None:
        url = self.job.reserve(self.key)
        put = self.job.client.ask("PUT", url, content, {"x-ms-blob-type": "BlockBlob"})
        if put.status != CREATED:
            raise Refused(f"the upload to {urlsplit(url).netloc} got {explain(put)}, not 201")
        message = message_of("FinalizeCacheEntryUpload", self.job.finalize(self.key, len(content)))
        if not message.get("ok") or not message.get("entry_id"):
            raise Refused(f"finalizing was refused: {quoted(str(message.get('message') or message))}")

    def _restore(self) -> bytes:
        reply, url = download(self.job.client, self.job.download_url(self.key))
        host = urlsplit(url).netloc
        if reply.is_broken:
            raise Refused(f"the download from {host} broke after {len(reply.body)} bytes")
        if reply.status != OK_STATUS:
            raise Refused(f"the download from {host}, a host that jobs must reach too, got {explain(reply)}, not 200")
        return reply.body


def not_tried(why: str) -> Finding:
    return unknown(SAVE, why)


def _in_words(error: Refused | NoAnswer) -> str:
    if isinstance(error, NoAnswer) or error.reply is None:
        return str(error)
    if error.reply.status == OK_STATUS:
        return f"{error} gets what isn't its answer: {explain(error.reply)}"
    return f"{error} gets {explain(error.reply)}"


def _to_do(error: Refused | NoAnswer) -> str:
    if isinstance(error, NoAnswer):
        return TO_DO[error.kind]
    return SEE_LOGS if error.reply is None else _hint(error.reply)


def _hint(reply: Reply) -> str:
    """Say what to do about an answer: by its status and, for a refused token, by the server's message."""
    if not reply.json:
        # Neither this server nor its API.
        return RIGHT_HOST
    said = str(reply.json.get("msg") or reply.json.get("message") or "").lower()
    if reply.status == UNAUTHENTICATED and "expired" in said:
        return "run this in a job that is running, since a token ends with its job"
    if reply.status == UNAUTHENTICATED and "issuer" in said:
        return "name the token's issuer in the server's TOKEN_ISSUERS"
    return HINTS.get(reply.status, SEE_LOGS)
