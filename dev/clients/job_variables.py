"""Where a runner tells a job's clients that the cache is, and how to get in."""

from typing import Literal

Api = Literal["v1", "v2"]
"""v2 is github.com's. v1 is the one before it, on GHES, Gitea and act; @actions/cache 3 knows no other."""


def job_variables(server: str, token: str, api: Api = "v2") -> dict[str, str]:
    url = f"{server}/"
    service = {
        "v1": {"ACTIONS_CACHE_URL": url},
        "v2": {"ACTIONS_RESULTS_URL": url, "ACTIONS_CACHE_SERVICE_V2": "True"},
    }
    return {**service[api], "ACTIONS_RUNTIME_TOKEN": token}
