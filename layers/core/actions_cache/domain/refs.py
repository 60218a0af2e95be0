"""Read refs as people write them: `main`, `#118`, or in full."""

import re

_IN_FULL = ("refs/", "gh-readonly-queue/")
"""Beginnings of scopes as tokens name them; a merge queue's may lack `refs/heads/`."""

_WITHOUT_REFS = ("heads/", "tags/", "pull/")

_PULL_REQUEST = re.compile(r"#([0-9]+)")


def full_ref(text: str) -> str:
    """Return the ref that people mean, in full as the scopes of jobs' tokens are.

    `#118` is the merge of pull request 118, to whose ref its jobs save. `heads/main`, `tags/v1` and `pull/118/merge`
    lack only their beginning. What begins with `refs/` or `gh-readonly-queue/` is left as it is, and anything else is a
    branch.
    """
    text = text.strip()
    if not text or text.startswith(_IN_FULL):
        return text
    if pull_request := _PULL_REQUEST.fullmatch(text):
        return f"refs/pull/{pull_request[1]}/merge"
    return f"refs/{text}" if text.startswith(_WITHOUT_REFS) else f"refs/heads/{text}"
