"""Mutants of what bounds hostile and huge input: docs/deploy/security.md lists what somebody can lengthen."""

from dev.mutants.mutant import CORE, Mutant

API_UPLOADS = "functions/api/uploads.py"
ARCHIVES = f"{CORE}/archives.py"
DEPENDENCIES = "functions/api/dependencies.py"
FORWARDING = "functions/api/passthrough.py"
SCHEDULE = f"{CORE}/domain/cleanup_schedule.py"
STREAM = f"{CORE}/part_stream.py"
READER = "functions/api/tokens.py"
UPLOADS = f"{CORE}/domain/uploads.py"

TESTS_OF_BLOCK_LISTS = ("tests/unit/api/test_block_list.py",)
TESTS_OF_BOUNDS = ("tests/unit/flows/test_bounds.py",)
TESTS_OF_BUDGETS = ("tests/unit/flows/test_budgets.py",)
TESTS_OF_FAMILIES = ("tests/unit/flows/test_families.py",)
TESTS_OF_FORWARDING = ("tests/unit/api/test_forwarding.py", "tests/unit/api/test_passthrough.py")
TESTS_OF_LISTINGS = ("tests/unit/flows/test_bounded_listings.py",)
TESTS_OF_REQUESTS = ("tests/unit/api/test_bad_input.py",)
TESTS_OF_STREAM = ("tests/unit/flows/test_part_stream.py",)
TESTS_OF_FLOODS = ("tests/unit/flows/test_sweeping_floods.py",)
TESTS_OF_TOKENS = ("tests/unit/api/test_tokens.py",)
TESTS_OF_UPLOADS = ("tests/unit/domain/test_uploads.py",)

BOUNDS = (
    Mutant(
        "an upload is taken that can't be merged in time",
        ARCHIVES,
        "        if self.worker is not None:\n",
        "        if self.worker is not None and not parts:\n",
        ("tests/unit/flows/test_bounds.py",),
    ),
    Mutant(
        "a run's batch isn't noted, so that what kills it does so again and again",
        f"{CORE}/cleanup.py",
        "            self.table.note_batch(ids)\n",
        "",
        TESTS_OF_FLOODS,
    ),
    Mutant(
        "a commit lists arrivals without end",
        ARCHIVES,
        "        if number == MAX_ARRIVALS:\n",
        "        if number < 0:\n",
        TESTS_OF_LISTINGS,
    ),
    Mutant(
        "a commit lists until API Gateway has given up",
        ARCHIVES,
        "if number % PAGE == 0 and clock.now() > until:",
        "if number < 0 and clock.now() > until:",
        TESTS_OF_LISTINGS,
    ),
    Mutant(
        "an open upload has any number of objects",
        SCHEDULE,
        "return walk.objects > MAX_ARRIVALS or (",
        "return (",
        TESTS_OF_FLOODS,
    ),
    Mutant(
        "an open upload has any number of bytes",
        SCHEDULE,
        " or (most_bytes is not None and walk.bytes > most_bytes)\n",
        " and most_bytes is not None\n",
        TESTS_OF_FLOODS,
    ),
    Mutant(
        "a flood keeps all other archives waiting for cleanup",
        f"{CORE}/cleanup.py",
        "until = max(remaining() - TASK_SLICE, DEADLINE_MARGIN)",
        "until = DEADLINE_MARGIN",
        TESTS_OF_FLOODS,
    ),
    Mutant(
        "a run that dies of an archive begins with it again",
        f"{CORE}/cleanup.py",
        "        self.table.replace_archive(current, postponed(current, now + POSTPONED_FOR))\n        abort_uploads",
        "        abort_uploads",
        TESTS_OF_FLOODS,
    ),
    Mutant(
        "a block list may name a block twice",
        UPLOADS,
        "        if block_id in seen:\n",
        "        if not block_id:\n",
        ("tests/unit/domain/test_uploads.py", "tests/unit/flows/test_saving.py"),
    ),
    Mutant(
        "a block list may name any number of blocks",
        API_UPLOADS,
        "        if len(self._ids) == MAX_BLOCKS and self._open:\n",
        "        if len(self._ids) < 0:\n",
        TESTS_OF_BLOCK_LISTS,
    ),
    Mutant(
        "a block list may declare entities", API_UPLOADS, "forbid_dtd=True", "forbid_dtd=False", TESTS_OF_BLOCK_LISTS
    ),
    Mutant(
        "a block list is read whole before it is refused",
        API_UPLOADS,
        "        if attributes or not (tag",
        "        if not (tag",
        TESTS_OF_BLOCK_LISTS,
    ),
    Mutant(
        "a block list may be nested",
        API_UPLOADS,
        "else len(self._open) == 1 and tag in _ID_TAGS):",
        "else tag in _ID_TAGS):",
        TESTS_OF_BLOCK_LISTS,
    ),
    Mutant(
        "a block id in a list may have any length",
        API_UPLOADS,
        "        if len(self._text) > MAX_ID_CHARACTERS:\n",
        "        if len(self._text) < 0:\n",
        TESTS_OF_BLOCK_LISTS,
    ),
    Mutant(
        "the edge takes a part of any size",
        "functions/edge/viewer_request.js",
        "  if (Number(size.value) > MAX_PART_BYTES) {\n",
        "  if (Number(size.value) < 0) {\n",
        ("tests/integration/edge/test_javascript.py",),
    ),
    Mutant(
        "the API takes a part of any size",
        API_UPLOADS,
        "    if int(size) > MAX_PART_BYTES:\n",
        "    if int(size) < 0:\n",
        TESTS_OF_REQUESTS,
    ),
    Mutant(
        "a chunk may be larger than an object",
        UPLOADS,
        "    if byte_range.size > MAX_PART_BYTES:\n",
        "    if byte_range.size < 0:\n",
        TESTS_OF_UPLOADS,
    ),
    Mutant(
        "an upload may have any number of chunks",
        UPLOADS,
        "    if len(newest) > MAX_BLOCKS:\n",
        "    if len(newest) < 0:\n",
        TESTS_OF_UPLOADS,
    ),
    Mutant(
        "two chunks may bring the same bytes",
        UPLOADS,
        "        if start < end:\n",
        "        if start < 0:\n",
        TESTS_OF_UPLOADS,
    ),
    Mutant(
        "a message that says how long it is is read before it is refused",
        DEPENDENCIES,
        "    if announced.isdecimal() and int(announced) > limit:\n",
        "    if announced.isdecimal() and int(announced) < 0:\n",
        TESTS_OF_REQUESTS,
    ),
    Mutant(
        "a message that doesn't say how long it is is read to its end",
        DEPENDENCIES,
        "        if len(body) > limit:\n",
        "        if len(body) < 0:\n",
        TESTS_OF_REQUESTS,
    ),
    Mutant(
        "an answer of the results service may have any size",
        FORWARDING,
        "        if len(body) > limit:\n",
        "        if len(body) < 0:\n",
        TESTS_OF_FORWARDING,
    ),
    Mutant(
        "a path may be percent-encoded over and over",
        FORWARDING,
        "    if unquote(path) != path:\n",
        "    if not path:\n",
        TESTS_OF_FORWARDING,
    ),
    Mutant(
        "a token may have any length",
        READER,
        "        if len(token) > MAX_TOKEN_CHARACTERS:\n",
        "        if not token:\n",
        TESTS_OF_TOKENS,
    ),
    Mutant(
        "a token may have any number of scopes",
        READER,
        "    if not 1 <= len(scopes) <= MAX_SCOPES:\n",
        "    if not 1 <= len(scopes):\n",
        TESTS_OF_TOKENS,
    ),
    Mutant(
        "each made-up key id makes the server ask the issuer",
        READER,
        "            cooldown_duration=COOLDOWN_SECONDS,\n",
        "            cooldown_duration=0,\n",
        TESTS_OF_TOKENS,
    ),
    Mutant(
        "each request waits for an issuer that is down",
        READER,
        "        if time.monotonic() - self._failed_at < RETRY_SECONDS:\n",
        "        if time.monotonic() < 0:\n",
        TESTS_OF_TOKENS,
    ),
    Mutant(
        "a key may have any length",
        f"{CORE}/domain/entry.py",
        "    if len(value) > MAX_NAME_CHARACTERS:\n",
        "    if len(value) < 0:\n",
        ("tests/unit/domain/test_entry.py",),
    ),
    Mutant(
        "a lookup may have any number of restore keys",
        "functions/api/cache_service.py",
        "    if len(request.restore_keys) > MAX_RESTORE_KEYS:\n",
        "    if len(request.restore_keys) < 0:\n",
        TESTS_OF_REQUESTS,
    ),
    Mutant(
        "a v1 lookup may have any number of keys",
        "functions/api/artifact_cache.py",
        "    if len(keys) > 1 + MAX_RESTORE_KEYS:\n",
        "    if len(keys) < 0:\n",
        TESTS_OF_REQUESTS,
    ),
    Mutant(
        "a lookup meets any number of broken entries",
        f"{CORE}/lookup.py",
        "        for _ in range(MAX_BROKEN):\n",
        "        for _ in range(100 * MAX_BROKEN):\n",
        TESTS_OF_BOUNDS,
    ),
    Mutant(
        "a job is told any number of similar keys",
        f"{CORE}/lookup.py",
        "return tuple(islice(similar, MOST_LISTED))",
        "return tuple(similar)",
        ("tests/unit/flows/test_listing_similar.py",),
    ),
    Mutant(
        "a repository begins any number of uploads",
        f"{CORE}/save.py",
        "        if self.repositories.count_create(repository, minute) > self.creates_per_minute:\n",
        "        if self.repositories.count_create(repository, minute) < 0:\n",
        TESTS_OF_BUDGETS,
    ),
    Mutant(
        "an entry that no eviction makes room for is saved",
        f"{CORE}/save.py",
        "            self.budgets.check_entry(size)\n",
        "",
        TESTS_OF_BUDGETS,
    ),
    Mutant(
        "a repository keeps any number of entries",
        f"{CORE}/domain/budgets.py",
        "_above_floor(usage, self.repository, self.repository_entries)",
        "_above_floor(usage, self.repository, None)",
        TESTS_OF_BUDGETS,
    ),
    Mutant(
        "a stream reads ahead without a bound",
        STREAM,
        "while self._held >= self.most_held and _now() < time:",
        "while self._held < 0 and _now() < time:",
        TESTS_OF_STREAM,
    ),
    Mutant(
        "a reader that takes nothing keeps its connections",
        STREAM,
        "if not await self._has_room_by(_now() + UNREAD_SECONDS):",
        "if not await self._has_room_by(inf):",
        TESTS_OF_STREAM,
    ),
    Mutant(
        "a store that brings nothing is asked forever",
        STREAM,
        "            if attempts_without_progress >= MAX_ATTEMPTS_WITHOUT_PROGRESS:\n",
        "            if attempts_without_progress >= 1000 * MAX_ATTEMPTS_WITHOUT_PROGRESS:\n",
        TESTS_OF_STREAM,
    ),
    Mutant(
        "a request of the management API reads to the end",
        ARCHIVES,
        "            if self.until is not None and number % LOOK_EVERY == 0 and self.clock.now() > self.until:\n",
        "            if self.until is not None and number < 0:\n",
        ("tests/unit/flows/test_reading_in_time.py",),
    ),
    Mutant(
        "a deletion on request goes on however slow the table is",
        f"{CORE}/manage.py",
        "            if until is not None and self.clock.now() > until:\n",
        "            if until is not None and self.clock.now() < 0:\n",
        ("tests/unit/flows/test_managing.py",),
    ),
    Mutant(
        "a deletion takes what was saved since its preview",
        f"{CORE}/manage.py",
        "            before = as_of + 1\n",
        "            before = 2 * as_of\n",
        ("tests/unit/flows/test_managing.py",),
    ),
    Mutant(
        "an entry that was used meanwhile is deleted by its last use",
        f"{CORE}/manage.py",
        "            return is_here and selected.entry_filter.matches(current)\n",
        "            return is_here\n",
        ("tests/unit/flows/test_managing.py",),
    ),
    Mutant(
        "the management API deletes without being told to",
        "functions/manage/query_params.py",
        "    dry_run: bool = Field(default=True,",
        "    dry_run: bool = Field(default=False,",
        ("tests/unit/manage/test_query_params.py",),
    ),
    Mutant(
        "any number of key families are counted by themselves",
        f"{CORE}/activity.py",
        "        if len(known) < MAX_PAIRS:\n",
        "        if True:\n",
        TESTS_OF_FAMILIES,
    ),
    Mutant(
        "a process remembers the key families of any number of repositories",
        f"{CORE}/activity.py",
        "        if hour != self._hour or len(self._pairs) >= MAX_PAIRS_OF:\n",
        "        if hour != self._hour:\n",
        TESTS_OF_FAMILIES,
    ),
    Mutant(
        "a process remembers any number of repositories",
        f"{CORE}/activity.py",
        "        if len(self._names) >= MAX_REMEMBERED:\n            self._names.clear()\n",
        "",
        TESTS_OF_BOUNDS,
    ),
    Mutant(
        "a write that keeps losing is tried forever",
        ARCHIVES,
        "    for _ in range(MAX_ROUNDS):\n",
        "    for _ in range(100 * MAX_ROUNDS):\n",
        TESTS_OF_BOUNDS,
    ),
)
