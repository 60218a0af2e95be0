"""Builds the distribution's own refusals in the dialect of the path: CloudFront's own pages are HTML."""

from http import HTTPStatus

from actions_cache.http import artifact_cache, azure, github, twirp
from actions_cache.http.answer import Answer

MANAGED = ("/manage/", "/repos/", "/repositories/", "/api/v3/")

_AZURE = {
    HTTPStatus.BAD_REQUEST: "InvalidUri",
    HTTPStatus.REQUEST_URI_TOO_LONG: "InvalidUri",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "InvalidHeaderValue",
    HTTPStatus.FORBIDDEN: "UnsupportedHttpVerb",
}


def refusal(path: str, status: int, message: str) -> Answer:
    """Return the error as clients of the path read it; 5xx tells them to try again."""
    is_busy = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    if path.startswith("/blobs/"):
        return azure.error(status, "ServerBusy" if is_busy else _AZURE[HTTPStatus(status)], message)
    if path.startswith(MANAGED):
        return github.error(status, message)
    by_twirp = twirp.error(status, "unavailable" if is_busy else "invalid_argument", message)
    if path.startswith(f"{artifact_cache.ROOT}/"):
        return artifact_cache.error(by_twirp, message, "Unavailable" if is_busy else "InvalidRequest")
    return by_twirp
