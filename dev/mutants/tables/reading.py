"""Mutants of what readers rely on: how long objects stay, that they are the same objects, and how many bytes come."""

from dev.mutants.mutant import CORE, Mutant

BUCKET = f"{CORE}/aws/s3.py"
DOWNLOAD = f"{CORE}/download.py"
MERGE = f"{CORE}/merge.py"
SAVE = f"{CORE}/save.py"
SCHEDULE = f"{CORE}/domain/cleanup_schedule.py"
SETTINGS = f"{CORE}/settings.py"
STREAM = f"{CORE}/aws/s3_stream.py"
UPLOADS = f"{CORE}/domain/uploads.py"

TESTS_OF_BUCKET = ("tests/integration/aws/test_bucket.py",)
TESTS_OF_CLEANUP = ("tests/unit/domain/test_cleanup_schedule.py", "tests/unit/flows/test_cleaning_up.py")
TESTS_OF_CONNECTIONS = ("tests/integration/aws/test_connections.py",)
TESTS_OF_DOWNLOADING = ("tests/unit/flows/test_downloading.py",)
TESTS_OF_MERGING = ("tests/unit/flows/test_merging.py",)
TESTS_OF_SAVING = ("tests/unit/flows/test_saving.py",)
TESTS_OF_SETTINGS = ("tests/unit/test_settings.py",)
TESTS_OF_UPLOADS = ("tests/unit/domain/test_uploads.py",)

GRACE = (
    Mutant(
        "parts go as soon as they are merged",
        SCHEDULE,
        '    """Return the time from which the parts of a merged archive have no readers."""\n'
        "    return archive.merge.ended_at + lifetimes.grace\n",
        "    return archive.merge.ended_at\n",
        TESTS_OF_CLEANUP,
    ),
    Mutant(
        "the objects of a removed entry go at once",
        SCHEDULE,
        "archive.deleted_at + (lifetimes.grace if archive.was_visible else 0)",
        "archive.deleted_at",
        TESTS_OF_CLEANUP,
    ),
    Mutant(
        "a sweep deletes the objects of an entry that was just removed",
        SCHEDULE,
        "    if archive.state is ArchiveState.DELETED and removable_at(archive, lifetimes) <= now:\n"
        "        return frozenset()\n",
        "    if archive.state is ArchiveState.DELETED:\n        return frozenset()\n",
        TESTS_OF_CLEANUP,
    ),
    Mutant(
        "a sweep deletes the parts of an archive that was just merged",
        SCHEDULE,
        "archive.merge.state is MergeState.MERGED and parts_removable_at(archive, lifetimes) <= now",
        "archive.merge.state is MergeState.MERGED",
        TESTS_OF_CLEANUP,
    ),
    Mutant(
        "a sweep deletes what a run is writing",
        SCHEDULE,
        "    if archive.merge.run_token is not None:\n"
        "        kept.add(ArchiveKeys(archive.id).merged(archive.merge.run_token))\n",
        "",
        TESTS_OF_CLEANUP,
    ),
    Mutant(
        "what a failed merge left is swept while its run may live",
        SCHEDULE,
        "return archive.merge.ended_at + lifetimes.grace, last_arrival",
        "return archive.merge.ended_at, last_arrival",
        TESTS_OF_CLEANUP,
    ),
    Mutant(
        "the grace counts one life of a download URL",
        SETTINGS,
        "return 2 * self.download_url_seconds + ",
        "return self.download_url_seconds + ",
        TESTS_OF_SETTINGS,
    ),
    Mutant(
        "the grace counts no stream",
        SETTINGS,
        "self.download_url_seconds + self.max_stream_seconds + CLOCK_MARGIN_SECONDS",
        "self.download_url_seconds + CLOCK_MARGIN_SECONDS",
        TESTS_OF_SETTINGS,
    ),
    Mutant(
        "the grace has no margin for clocks",
        SETTINGS,
        "self.max_stream_seconds + CLOCK_MARGIN_SECONDS\n",
        "self.max_stream_seconds\n",
        TESTS_OF_SETTINGS,
    ),
    Mutant(
        "a grace shorter than readers need is accepted",
        SETTINGS,
        "and self.parts_grace_seconds < self.shortest_parts_grace_seconds:",
        "and self.parts_grace_seconds < self.download_url_seconds:",
        TESTS_OF_SETTINGS,
    ),
    Mutant(
        "a stream takes longer than the grace counts on",
        "functions/download/handler.py",
        "async with asyncio.timeout(self._max_seconds), aclosing",
        "async with asyncio.timeout(None), aclosing",
        ("tests/guarantees/test_no_reader_cut_off.py::test_stream_breaks_at_its_permitted_time",),
    ),
    Mutant(
        "a URL from before an entry's removal is refused in the grace",
        DOWNLOAD,
        "if not archive.is_stored and removable_at(archive, self.lifetimes) <= self.clock.now():",
        "if not archive.is_stored:",
        TESTS_OF_DOWNLOADING,
    ),
    Mutant(
        "an entry expires although it was just used",
        f"{CORE}/cleanup.py",
        "self.remove_entry(archive.id, lambda current: current.last_used_at == archive.last_used_at)",
        "self.remove_entry(archive.id, lambda _: True)",
        ("tests/unit/flows/test_cleaning_up.py::test_entry_used_during_cleanup_does_not_expire",),
    ),
    Mutant(
        "an entry is evicted although it was just used",
        f"{CORE}/evict.py",
        "return lambda current: self._last_use(current) == used_at",
        "return lambda _: used_at > 0",
        ("tests/unit/flows/test_budgets.py",),
    ),
)

ETAG_PIN = (
    Mutant(
        "a stream reads whatever object has the part's key",
        STREAM,
        'headers = {"If-Match": source.part.etag}',
        "headers: dict[str, str] = {}",
        TESTS_OF_CONNECTIONS,
    ),
    Mutant(
        "a stream asks again for an object that was replaced",
        STREAM,
        "if response.status in (HTTPStatus.NOT_FOUND, HTTPStatus.PRECONDITION_FAILED):",
        "if response.status == HTTPStatus.NOT_FOUND:",
        TESTS_OF_CONNECTIONS,
    ),
    Mutant(
        "a stream goes on with bytes that its part's ETag doesn't stand for",
        DOWNLOAD,
        "                        if wrong is not None:\n",
        "                        if wrong is not None and not chunk:\n",
        TESTS_OF_DOWNLOADING,
    ),
    Mutant(
        "a merge reads whatever object has the part's key",
        BUCKET,
        "get_object(Bucket=self._name, Key=source.part.key, IfMatch=source.part.etag)",
        "get_object(Bucket=self._name, Key=source.part.key)",
        TESTS_OF_BUCKET,
    ),
    Mutant(
        "a merge reads a range of whatever object has the part's key",
        BUCKET,
        "                    IfMatch=source.part.etag,\n                    Range",
        "                    Range",
        TESTS_OF_BUCKET,
    ),
    Mutant(
        "a merge copies whatever object has the part's key",
        BUCKET,
        "                CopySourceIfMatch=source.part.etag,\n",
        "",
        TESTS_OF_BUCKET,
    ),
    Mutant(
        "a read accepts bytes that the ETag doesn't stand for",
        BUCKET,
        "if source.is_whole and etags_conflict(etag_of([body]), source.part.etag):",
        "if not source.size and etags_conflict(etag_of([body]), source.part.etag):",
        TESTS_OF_BUCKET,
    ),
    Mutant(
        "a merge accepts a copy with another ETag than its source",
        MERGE,
        "        if step.source.is_whole and etags_conflict(copied.etag, step.source.part.etag):\n"
        '            raise WrongBytes(step.source.part, f"the ETag of its copy is {copied.etag}")\n',
        "",
        TESTS_OF_MERGING,
    ),
    Mutant(
        "a merge accepts an upload with another ETag than its bytes",
        MERGE,
        "if etags_conflict(uploaded.etag, sent := etag_of([body])):",
        "if etags_conflict(uploaded.etag, sent := uploaded.etag):",
        TESTS_OF_MERGING,
    ),
    Mutant(
        "a merge publishes an object with another ETag than follows from its parts",
        MERGE,
        " or (etag and merged.etag != etag):",
        ":",
        ("tests/guarantees/test_right_bytes.py::test_other_merged_object_is_never_published",),
    ),
    Mutant(
        "a lookup hits an entry whose object was replaced",
        f"{CORE}/lookup.py",
        "if needed is not None and self.bucket.stat(needed.key) != needed:",
        "if needed is not None and self.bucket.stat(needed.key) is None:",
        ("tests/unit/flows/test_looking_up.py",),
    ),
    Mutant(
        "an object that is written once is written over",
        BUCKET,
        'Body=body, IfNoneMatch="*", ContentType',
        "Body=body, ContentType",
        TESTS_OF_BUCKET,
    ),
    Mutant(
        "an object of others under a write-once key counts as written",
        BUCKET,
        "if existing != Part(key, len(body), etag_of([body])):",
        "if existing is None:",
        TESTS_OF_BUCKET,
    ),
    Mutant(
        "the edge sends a reader that pins another ETag to the object",
        "functions/edge/viewer_request.js",
        "if (!tags.includes('*') && !tags.includes(object.etag)) {",
        "if (tags.length === 0) {",
        ("tests/integration/edge/test_javascript.py", "tests/integration/edge/test_twins.py"),
    ),
)

SIZE = (
    Mutant(
        "a stream takes an answer of another size than the range",
        STREAM,
        "if response.status != expected or response.size != source.size:",
        "if response.status != expected:",
        TESTS_OF_CONNECTIONS,
    ),
    Mutant(
        "a stream takes all of an object for a range of it",
        STREAM,
        "if response.status != expected or response.size != source.size:",
        "if response.status >= HTTPStatus.BAD_REQUEST or response.size != source.size:",
        TESTS_OF_CONNECTIONS,
    ),
    Mutant(
        "a body that ends early counts as whole",
        STREAM,
        '        self._break("it ended")\n',
        "        self._left = 0\n        self._news.set()\n",
        TESTS_OF_CONNECTIONS,
    ),
    Mutant(
        "a range whose connection ends early counts as whole",
        f"{CORE}/part_stream.py",
        "        while offset < self.source.end:\n            before",
        "        while offset == self.source.start:\n            before",
        ("tests/unit/flows/test_part_stream.py",),
    ),
    Mutant(
        "a stream ends cleanly with other than the wanted bytes",
        DOWNLOAD,
        "                if given != wanted.size:\n"
        '                    raise Unavailable(f"{archive.id}: {given} bytes of {wanted.size}")\n',
        "                return\n",
        TESTS_OF_DOWNLOADING,
    ),
    Mutant(
        "a merge reads fewer bytes than the part has",
        BUCKET,
        '        if len(body) != source.size:\n            raise Unavailable(f"{source.part.key}: '
        '{len(body)} bytes of {source.size}")\n',
        "",
        TESTS_OF_BUCKET,
    ),
    Mutant(
        "a merge publishes an object of another size than its parts",
        MERGE,
        "if merged is None or merged.size != manifest.size or (",
        "if merged is None or (",
        ("tests/guarantees/test_right_bytes.py::test_other_merged_object_is_never_published",),
    ),
    Mutant(
        "Finalize accepts another size than the committed parts have",
        SAVE,
        "            check_size(name, size, fixed.size)\n",
        "",
        TESTS_OF_SAVING,
    ),
    Mutant(
        "Finalize pins a blob of another size",
        SAVE,
        "        check_size(archive.name, size, blob.size)\n",
        "",
        TESTS_OF_SAVING,
    ),
    Mutant(
        "a chunk has another length than its range",
        SAVE,
        "    if received != size:\n",
        "    if received > size:\n",
        TESTS_OF_SAVING,
    ),
    Mutant(
        "chunks are committed though the last one is missing",
        UPLOADS,
        "    if end != size:\n",
        "    if end > size:\n",
        TESTS_OF_UPLOADS,
    ),
    Mutant(
        "chunks are committed with a gap",
        UPLOADS,
        "        if start > end:\n",
        "        if start > size:\n",
        TESTS_OF_UPLOADS,
    ),
    Mutant(
        "room that another eviction made meanwhile is made again",
        f"{CORE}/evict.py",
        "            if confirmed is not candidates:\n",
        "            if confirmed is candidates:\n",
        ("tests/unit/flows/test_evicting_by_class.py",),
    ),
    Mutant(
        "main's entries go for a flood that an index doesn't show",
        f"{CORE}/evict.py",
        "            if not counts.items() <= unfound.items():\n",
        "            if not counts.keys() <= unfound.keys():\n",
        ("tests/unit/flows/test_evicting_by_class.py",),
    ),
)
