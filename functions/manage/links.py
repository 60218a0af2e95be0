"""The `Link` header, by which clients of GitHub's go from page to page."""

from fastapi import Request
from starlette.datastructures import URL

from actions_cache.domain.listing import Page
from actions_cache.web.app import base_url, came_through_edge, signer


def links(request: Request, public_url: str | None, page: Page, total: int) -> dict[str, str]:
    """A header, or none where there is one page."""
    last = page.last_of(total)
    numbers = {"prev": page.number - 1, "next": page.number + 1, "last": last, "first": 1}
    shown = {
        rel: number
        for rel, number in numbers.items()
        if 1 <= number <= last
        and not (rel in ("prev", "first") and page.number == 1)
        and not (rel in ("next", "last") and page.number >= last)
    }
    url = _asked(request, public_url)
    written = [f'<{url.include_query_params(page=number)}>; rel="{rel}"' for rel, number in shown.items()]
    return {"Link": ", ".join(written)} if written else {}


def _asked(request: Request, public_url: str | None) -> URL:
    """Absolute: gh takes no other. At the API's own URL the stage is part of the path.

    Who signs by IAM is there whatever the public URL is, and has to stay where the signature is checked.
    """
    event = request.scope.get("aws.event")
    if event and (signer(request) or not (public_url or came_through_edge(request))):
        url = str(request.base_url).rstrip("/") + event["requestContext"]["path"]
    else:
        url = base_url(request, public_url) + request.url.path
    return URL(url).replace(query=request.url.query)
