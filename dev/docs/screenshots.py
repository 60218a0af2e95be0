"""`make screenshots`: makes docs/images of the page, with a week of made-up history, in a headless Chromium.

Names, numbers and the clock are always the same, so a picture changes only when the page does.
"""

import math
import random
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, ViewportSize

from actions_cache.domain.access import GITHUB, Role
from actions_cache.domain.archive import MergeState
from actions_cache.domain.budgets import HOUR, Tally
from actions_cache.domain.key_family import pair_of
from actions_cache.domain.refused_job import KEPT, Refusals, RefusedJob
from actions_cache.domain.timing import DAY
from dev.docs.chromium import PHONE, NoChromium, chromium, settled, sign_in
from dev.docs.page_server import MAIN, PageServer, page_server
from dev.local.template import ROOT, Template

IMAGES = ROOT / "docs" / "images"
GIB, MIB = 1024**3, 1024**2
WEBSITE, DAYS = "42", 7

WHOLE: ViewportSize = {"width": 1000, "height": 900}
"""Size of a picture that is as long as the page."""

REPOSITORIES: Mapping[str, tuple[str, float, int]] = {
    WEBSITE: ("acme/website", 9.4, 14),
    "43": ("acme/mobile-app", 6.2, 9),
    "44": ("acme/engine", 3.1, 5),
    "45": ("acme/infrastructure", 0.4, 3),
}
"""Name, GiB and number of entries of each repository, by its id."""

CLAIMS = "repository_owner_id=5"
ADMITTING = (f"repository_id=61@{GITHUB}", f"repository_owner_id=8@{GITHUB}")
REFUSED = RefusedJob(GITHUB, "61", "acme-labs/prototype", "8", "acme-labs", ADMITTING)

KEYS = (
    "node-modules-linux-x64-",
    "playwright-browsers-",
    "pip-linux-3.12-",
    "cargo-registry-",
    "gradle-wrapper-",
    "buildkit-layers-",
    "go-build-",
)
REFS = (MAIN, MAIN, MAIN, "refs/pull/118/merge", "refs/heads/release/2.4")
STATES = (*[MergeState.MERGED] * 6, MergeState.RUNNING)


def fill(store: PageServer) -> None:
    dice = random.Random(8)  # noqa: S311 - the same each time
    for repository, (name, gibibytes, count) in REPOSITORIES.items():
        store.repository(repository, name)
        weights = [dice.uniform(0.3, 2) for _ in range(count)]
        for number, weight in enumerate(weights):
            created = int(dice.uniform(0.5, 6.5) * DAY)
            store.entry(
                repository,
                f"{KEYS[number % len(KEYS)]}{dice.randbytes(20).hex()}",
                int(gibibytes * GIB * weight / sum(weights)),
                ref=dice.choice(REFS),
                version=str(number),
                created=created,
                used=int(dice.betavariate(1, 6) * created),
                hits=dice.randrange(12),
                merge=dice.choice(STATES),
            )
        for ago in range(DAYS * 24):
            busy = _busyness(store.now - ago * HOUR) * gibibytes / 2
            lookups = int(busy * dice.uniform(0.6, 1.4))
            if lookups:
                hits = round(lookups * dice.uniform(0.78, 0.97))
                each = 180 * MIB
                saves = lookups - hits
                tally = Tally(
                    hits=hits,
                    partial_hits=hits // 6,
                    misses=saves,
                    saves=saves,
                    bytes_restored=hits * each,
                    bytes_saved=saves * each,
                )
                store.hour(repository, ago, tally, pair_of(f"{dice.choice(KEYS[:count])}{dice.randbytes(20).hex()}"))
    store.entry("43", "buildkit-layers-with-a-lost-part", 2 * GIB, created=DAY, used=3 * HOUR, merge=MergeState.FAILED)
    store.services.repositories.add_refusals(Refusals(REFUSED, 3, store.now - 2 * HOUR), store.now + KEPT)


def _busyness(at: int) -> float:
    """Return how busy an hour is: people work by day, and less at weekends."""
    hour, weekday = at // HOUR % 24, (at // DAY + 3) % 7
    return 12 * max(0.05, math.sin((hour - 6) / 14 * math.pi)) * (1 if weekday < 5 else 0.15)


@dataclass(frozen=True)
class Picture:
    """A picture of a place on the page, after a click on a selector if there is one."""

    name: str
    place: str
    size: ViewportSize
    scheme: Literal["light", "dark"]
    click: str = ""

    def take(self, browser: Browser, store: PageServer) -> Path:
        context = browser.new_context(
            viewport=self.size,
            color_scheme=self.scheme,
            locale="en-GB",
            timezone_id="UTC",
            reduced_motion="reduce",
        )
        sign_in(context, store, Role.ADMIN)
        page = context.new_page()
        page.clock.set_fixed_time(store.now / 1000)
        page.goto(f"{store.url}/{self.place}")
        settled(page)
        if not self.place:
            page.wait_for_selector(".chart svg")
        if self.click:
            page.locator(self.click).first.click()
        file = IMAGES / f"{self.name}.png"
        page.screenshot(path=file, animations="disabled", full_page=self.size is WHOLE)
        context.close()
        return file


OF_ONE = f"#/repositories/{WEBSITE}"
PICTURES = (
    Picture("overview", "", WHOLE, "light"),
    Picture("repository", OF_ONE, {"width": 1000, "height": 760}, "dark"),
    Picture("phone-overview", "", PHONE, "dark"),
    Picture("phone-repository", OF_ONE, PHONE, "light"),
    Picture("phone-delete", OF_ONE, PHONE, "light", ".entries button.danger"),
)


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    try:
        with chromium() as browser, page_server(Template.load(), "screenshots", token_claims=CLAIMS) as store:
            fill(store)
            for picture in PICTURES:
                file = picture.take(browser, store)
                print(f"{file.relative_to(ROOT)}: {file.stat().st_size // 1024} KiB")
    except NoChromium as missing:
        sys.exit(str(missing))


if __name__ == "__main__":
    main()
