"""Says, once the run serves, where its page is, what points a runner at it, and where its logs are."""

import json
import shlex
from collections.abc import Iterator

from actions_cache_cli.doctor.runner import url_fault
from dev.local.options import DATA_DIR, Options


def next_steps(options: Options, public_url: str | None) -> Iterator[str]:
    """Yield the lines that say what to do next.

    Args:
        options: Options of the run.
        public_url: URL of a proxy in front, if there is one.
    """
    url = f"{(public_url or options.url).rstrip('/')}/"
    chosen = "" if options.data_dir == DATA_DIR else f" LOCAL_DATA_DIR={shlex.quote(str(options.data_dir))}"
    yield f"page:    {url}, and its token by: make token{chosen}"
    if (fault := url_fault(url)) is not None:
        yield f"runner:  {fault}; put a proxy with a certificate before it, and set PUBLIC_URL to its URL"
    else:
        yield "runner:  copy runners/hook.cjs to /opt, write these two, and restart it (docs/runners.md)"
        yield f"         /opt/hook.json:     {json.dumps({'url': url})}"
        yield "         the runner's .env:  NODE_OPTIONS=--require /opt/hook.cjs"
    yield f"logs:    {options.data_dir / 'logs'}; each save, restore and miss gets a line here"
