"""Every setting, with its bounds.

A function reads them from its environment once, at its start. `docs/deploy/settings.md` says what more and less of each
one costs; a test fails when it leaves one out.
"""

import re
import ssl
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from actions_cache.domain.access import GITHUB, MAX_ISSUER_CHARACTERS, Rule, check_rules, parse_rule, without_slash
from actions_cache.domain.entry_class import EntryClass
from actions_cache.domain.signing import SETTLE
from actions_cache.domain.timing import SECOND

MIB = 1024 * 1024
DAY = 24 * 3600

LONGEST_DOWNLOAD_URL_SECONDS = 3600
"""A presigned URL ends with the credentials that signed it. A function gets its role's for 12 hours, and Lambda
replaces an execution environment every few hours, so they always last another hour:
https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html and github.com/boto/boto3/issues/2392"""

CLOCK_MARGIN_SECONDS = 30
"""Seconds that the clocks of API, download and cleanup may be apart; the grace for readers includes it."""


class MergeTrigger(StrEnum):
    FINALIZE = "finalize"
    FIRST_DOWNLOAD = "first-download"


class SeekThrough(StrEnum):
    EDGE = "edge"
    API = "api"


Seconds = Annotated[int, Field(gt=0)]
Bytes = Annotated[int, Field(gt=0)]
Limit = Annotated[int, Field(ge=0)]
"""A limit; 0 stands for none, since an empty variable stands for the default."""


class Settings(BaseSettings):
    """The settings of a function, read from its environment.

    Raises:
        pydantic.ValidationError: a setting is missing, out of bounds, or contradicts another.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    # Resources, named by the template.
    entries_table: str
    reservations_table: str
    archives_table: str
    repositories_table: str
    bucket: str
    merge_queue_url: str
    url_signing_secret_arn: str
    edge_secrets_arn: str | None = None
    admin_secret_arn: str | None = None
    merge_dead_letter_queue_url: str | None = None

    # URLs and lifetimes.
    public_url: str | None = None
    edge_key: str | None = None
    seek_through: SeekThrough = SeekThrough.EDGE
    upload_url_seconds: Annotated[int, Field(gt=0, le=12 * 3600)] = 3600
    download_url_seconds: Annotated[int, Field(gt=0, le=LONGEST_DOWNLOAD_URL_SECONDS)] = 600
    reservation_seconds: Annotated[int, Field(gt=0, le=12 * 3600)] = 3600
    max_stream_seconds: Annotated[int, Field(gt=0, le=900)] = 900
    parts_grace_seconds: Seconds | None = None
    unused_entry_seconds: Seconds = 7 * DAY
    unused_branch_entry_seconds: Limit = 0
    unused_transient_entry_seconds: Limit = 0
    secret_rotation_seconds: Seconds = 30 * DAY

    # Budgets and rates.
    repository_budget_bytes: Limit = 50 * 1024**3
    repository_budget_entries: Limit = 25_000
    store_budget_bytes: Limit = 0
    max_entry_bytes: Limit = 0
    max_open_upload_bytes: Limit = 0
    creates_per_minute: Limit = 0

    # Merging.
    merge_trigger: MergeTrigger = MergeTrigger.FINALIZE
    merge_lease_seconds: Annotated[int, Field(ge=3)] = 60
    merge_attempts: Annotated[int, Field(ge=1)] = 5
    merge_concurrency: Annotated[int, Field(ge=1, le=64)] = 16
    merge_memory_mb: Annotated[int, Field(ge=128, le=10_240)] = 1024
    queue_retention_seconds: Annotated[int, Field(ge=60, le=14 * DAY)] = 12 * 3600

    # The delivery rule's limits: none unless the template says how this deployment streams.
    stream_max_bytes: Bytes | None = None
    stream_burst_bytes: Bytes = 6 * MIB
    stream_bytes_per_second: Bytes | None = None
    merge_wait_seconds: Annotated[int, Field(ge=0, le=25)] = 20
    read_ahead_bytes: Annotated[int, Field(ge=MIB)] = 32 * MIB
    check_streamed_parts: bool = False

    # Admission of jobs.
    verify_tokens: bool = True
    token_issuers: Annotated[tuple[str, ...], NoDecode] = (GITHUB,)
    token_audience: str | None = None
    token_claims: Annotated[tuple[Rule, ...], NoDecode] = ()
    """Rules for admitting jobs; without any, no job is admitted."""

    # The service that other paths are passed on to.
    results_service_url: str | None = None
    extra_ca_certificates: str | None = None

    release: str | None = None
    """`version+commit` where no build has stamped it."""

    @property
    def unused_seconds(self) -> Mapping[EntryClass, int]:
        """Return how long an entry of each class lives after its last use.

        The shares of UNUSED_ENTRY_SECONDS are 5 and 3 days of its 7: a pull request finds its own after a
        weekend, and what the default branch used in the last four days goes after it.
        """
        longest = self.unused_entry_seconds
        branch = self.unused_branch_entry_seconds or max(1, longest * 5 // 7)
        return {
            EntryClass.DEFAULT_BRANCH: longest,
            EntryClass.BRANCH: branch,
            EntryClass.TRANSIENT: self.unused_transient_entry_seconds or min(branch, max(1, longest * 3 // 7)),
        }

    @property
    def largest_entry_bytes(self) -> int | None:
        """Return the size of the largest entry; None for no limit."""
        limits = (self.max_entry_bytes, self.repository_budget_bytes, self.store_budget_bytes)
        return min((limit for limit in limits if limit), default=None)

    @property
    def open_upload_bytes(self) -> int | None:
        """Return the number of bytes that an open upload may have; None for no limit.

        Unless set, it is twice the largest entry, since each block may be sent twice.
        """
        if self.max_open_upload_bytes:
            return self.max_open_upload_bytes
        return None if self.largest_entry_bytes is None else 2 * self.largest_entry_bytes

    @property
    def shortest_parts_grace_seconds(self) -> int:
        """Return the shortest grace, for the last reader of the last URLs.

        A lookup gives a URL of this server just before the archive is merged or removed. In its last second, that URL
        redirects to a presigned one or lists presigned URLs of the parts, which live as long again. A read that is
        begun in their last second takes `max_stream_seconds`: a stream of ours is broken off then, and readers of part
        lists keep to it too (docs/design/parts-protocol.md#rules-for-readers).
        """
        return 2 * self.download_url_seconds + self.max_stream_seconds + CLOCK_MARGIN_SECONDS

    @property
    def grace_seconds(self) -> int:
        return self.parts_grace_seconds or self.shortest_parts_grace_seconds

    @property
    def longest_url_seconds(self) -> int:
        return max(self.upload_url_seconds, self.download_url_seconds)

    @property
    def shortest_secret_rotation_seconds(self) -> int:
        """Return the seconds that one rotation takes (domain/signing.py)."""
        return self.longest_url_seconds + 2 * SETTLE // SECOND

    @field_validator("token_issuers", mode="before")
    @classmethod
    def _split_issuers(cls, value: object) -> object:
        return _split(value)

    @field_validator("token_issuers")
    @classmethod
    def _check_issuers(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(_issuer, urls))

    @field_validator("token_claims", mode="before")
    @classmethod
    def _parse_claims(cls, value: object) -> object:
        rules = _split(value)
        return [parse_rule(rule) for rule in rules] if isinstance(rules, list) else rules

    @field_validator("public_url")
    @classmethod
    def _check_public_url(cls, url: str | None) -> str | None:
        return None if url is None else _public_url(url)

    @field_validator("results_service_url")
    @classmethod
    def _check_results_service_url(cls, url: str | None) -> str | None:
        return None if url is None else _origin(url)

    @field_validator("extra_ca_certificates")
    @classmethod
    def _read_certificates(cls, value: str | None) -> str | None:
        return None if value is None else _certificates(value)

    @model_validator(mode="after")
    def _check_grace(self) -> Self:
        if self.parts_grace_seconds is not None and self.parts_grace_seconds < self.shortest_parts_grace_seconds:
            message = (
                f"PARTS_GRACE_SECONDS is {self.parts_grace_seconds}, but a reader may need its parts for "
                f"{self.shortest_parts_grace_seconds} s: 2 x DOWNLOAD_URL_SECONDS + MAX_STREAM_SECONDS + "
                f"{CLOCK_MARGIN_SECONDS} s between clocks. Raise it, lower those, or leave it unset."
            )
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _check_unused(self) -> Self:
        longest, branch, transient = self.unused_seconds.values()
        if not transient <= branch <= longest:
            raise ValueError(
                f"UNUSED_ENTRY_SECONDS is {longest}, UNUSED_BRANCH_ENTRY_SECONDS {branch} and "
                f"UNUSED_TRANSIENT_ENTRY_SECONDS {transient}: fewer jobs can read the entries of each, so none may be "
                "longer than the one before it. Lower it, raise that, or leave it at 0 for a share of the first."
            )
        return self

    @model_validator(mode="after")
    def _check_seek_through(self) -> Self:
        if self.seek_through is SeekThrough.API and self.edge_key is not None:
            raise ValueError(
                "SEEK_THROUGH=api sends clients past the edge, and with EDGE_KEY the API answers nobody there. Set "
                "SEEK_THROUGH to edge, or leave EDGE_KEY unset."
            )
        return self

    @model_validator(mode="after")
    def _check_open_uploads(self) -> Self:
        largest = self.largest_entry_bytes
        if self.max_open_upload_bytes and largest is not None and self.max_open_upload_bytes < largest:
            raise ValueError(
                f"MAX_OPEN_UPLOAD_BYTES is {self.max_open_upload_bytes}, but one entry may have {largest} bytes "
                "(MAX_ENTRY_BYTES, REPOSITORY_BUDGET_BYTES, STORE_BUDGET_BYTES), so that its upload would be closed. "
                "Raise it, lower those, or leave it at 0: twice as much as an entry may have."
            )
        return self

    @model_validator(mode="after")
    def _check_rotation(self) -> Self:
        if self.secret_rotation_seconds < self.shortest_secret_rotation_seconds:
            message = (
                f"SECRET_ROTATION_SECONDS is {self.secret_rotation_seconds}, but one rotation takes "
                f"{self.shortest_secret_rotation_seconds} s: the longer of UPLOAD_URL_SECONDS and "
                f"DOWNLOAD_URL_SECONDS, and twice {SETTLE // SECOND} s until everybody knows a change. Raise it, or "
                "lower those."
            )
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _check_claims(self) -> Self:
        check_rules(self.token_claims, self.token_issuers)
        return self


# ---------------------------------------------------------------- values


def _split(value: object) -> object:
    return [item.strip() for item in value.split(",") if item.strip()] if isinstance(value, str) else value


def _origin(url: str) -> str:
    if not re.fullmatch(r"https?://[A-Za-z0-9.:\[\]-]+/?", url):
        raise ValueError(f"{url!r} isn't https://host or https://host:port; clients drop any path of such a URL")
    return without_slash(url)


def _public_url(url: str) -> str:
    """Return the URL.

    Raises:
        ValueError: no URL can begin with it. Without this check, the first answer with a URL would be the first sign.
    """
    try:
        parts = urlsplit(url)
        is_url = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        is_url = False
    if not is_url or re.search(r"[\s?#]", url):
        raise ValueError(f"{url[:100]!r} isn't https://host or https://host/path, of which a port may be part")
    return url


def _certificates(value: str) -> str:
    """Return the certificates' text, whether it or a file's path is given.

    Raises:
        ValueError: they can't be read.
    """
    try:
        text = Path(value).read_text() if value.startswith("/") else value
        ssl.create_default_context(cadata=text)
    except (OSError, ValueError) as error:  # ssl's own errors are OSErrors
        given = value if value.startswith("/") else f"{value[:40]!r}…"
        raise ValueError(
            f"{given}: {error}. Give certificates in PEM, or a file of them by its absolute path"
        ) from error
    return text


def _issuer(url: str) -> str:
    if len(url) > MAX_ISSUER_CHARACTERS or not re.fullmatch(r"https?://[!-~]+", url):
        raise ValueError(f"{url[:100]!r} isn't a URL of at most {MAX_ISSUER_CHARACTERS} ASCII characters")
    return without_slash(url)


# ---------------------------------------------------------------- errors in words

_SECONDS = {"s": ("second", 1), "m": ("minute", 60), "h": ("hour", 3600), "d": ("day", 86400), "w": ("week", 604800)}
_BYTES = {
    "kib": 1024,
    "mib": 1024**2,
    "gib": 1024**3,
    "tib": 1024**4,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
}


def explain_validation_error(error: ValidationError, model: type[BaseModel]) -> str:
    """Return all errors in one line, with the variables' names.

    Args:
        error: an error of `model`.
        model: the settings whose fields are variables.
    """
    return "; ".join(_explain(detail, model) for detail in error.errors())


def _explain(error: Mapping[str, Any], model: type[BaseModel]) -> str:
    name = "".join(str(part) for part in error["loc"][:1]).upper()
    problem = _problem(error, name, model)
    if error["type"] == "missing":
        return f"{name} {problem}"
    return f"{name}: {problem}" if name else problem


def _problem(error: Mapping[str, Any], name: str, model: type[BaseModel]) -> str:
    kind, given = str(error["type"]), str(error["input"])[:60]
    match kind:
        case "missing":
            return "is missing"
        case "enum" | "literal_error":
            allowed = str(error["ctx"]["expected"]).replace("'", "")
            return f"{given!r} isn't known; it may be {allowed}"
        case "bool_parsing" | "bool_type":
            return f"{given!r} is neither true (1) nor false (0)"
    if kind.startswith(("int_", "float_", "greater_", "less_", "finite_")):
        return f"{given!r} isn't {_number(name, model, is_whole=not kind.startswith('float'))}{_converted(name, given)}"
    return str(error["msg"]).removeprefix("Value error, ")


def _number(name: str, model: type[BaseModel], *, is_whole: bool) -> str:
    """Return the range of a number, and its unit if that is seconds."""
    field = model.model_fields.get(name.lower())
    bounds: dict[str, Any] = {}
    for constraint in _constraints(field.metadata, field.annotation) if field else ():
        bounds |= {bound: getattr(constraint, bound) for bound in ("ge", "gt", "le") if hasattr(constraint, bound)}
    is_whole = is_whole and (field is None or "float" not in str(field.annotation))
    unit = next((unit for unit in ("seconds", "bytes") if name.endswith(f"_{unit.upper()}")), None)
    number = f"a number of {unit}" if unit else "a whole number" if is_whole else "a number"
    least, most = bounds.get("ge"), bounds.get("le")
    if least is not None and most is not None:
        return f"{number} from {least} to {most}"
    if least is not None:
        return f"{number} from {least} on"
    if "gt" in bounds:
        return f"{number} over {bounds['gt']}"
    return f"{number} of at most {most}" if most is not None else number


def _constraints(metadata: list[Any], annotation: object) -> list[Any]:
    """Return a field's constraints, and those of its type without None."""
    of_types = [entry for kind in getattr(annotation, "__args__", ()) for entry in getattr(kind, "__metadata__", ())]
    entries = [*metadata, *of_types]
    return [constraint for entry in entries for constraint in (getattr(entry, "metadata", None) or [entry])]


def _converted(name: str, given: str) -> str:
    """Return the number that a value with a unit stands for."""
    found = re.fullmatch(r"\s*(\d{1,6})\s*([a-z]{1,3})\s*", given.lower(), re.ASCII)
    if found is None:
        return ""
    number, unit = int(found[1]), found[2]
    if name.endswith("_SECONDS") and unit in _SECONDS:
        word, seconds = _SECONDS[unit]
        return f" ({number} {word}{' is' if number == 1 else 's are'} {number * seconds})"
    return f" ({given.strip()} is {number * _BYTES[unit]})" if name.endswith("_BYTES") and unit in _BYTES else ""
