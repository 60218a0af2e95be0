"""Mutants of the merge: who claims it, whose result is published, and what it may not do to readers."""

from dev.mutants.mutant import CORE, Mutant

ARCHIVES = f"{CORE}/archives.py"
CLAIMS = f"{CORE}/domain/claim.py"
MERGE = f"{CORE}/merge.py"
TABLE = f"{CORE}/aws/dynamodb.py"
DOWNLOAD = f"{CORE}/download.py"

TESTS_OF_CLAIMS = ("tests/unit/domain/test_claim.py",)
TESTS_OF_MERGING = ("tests/unit/flows/test_merging.py",)
TESTS_OF_LEFT_UPLOADS = ("tests/unit/flows/test_left_uploads.py",)
TESTS_OF_SAVING = ("tests/unit/flows/test_saving.py",)
TESTS_OF_TABLE = ("tests/integration/aws/test_table.py",)
SEED_CASE = ("tests/guarantees/test_full_speed.py::test_readers_never_wait_for_the_single_merge",)

SEED = (
    Mutant(
        "a stream waits for the merge that is under way",
        f"{CORE}/domain/delivery.py",
        "    if limits.fits(size) and not (",
        "    if merge_state is not MergeState.RUNNING and limits.fits(size) and not (",
        SEED_CASE,
    ),
    Mutant(
        "a stream waits until the merge is claimed",
        DOWNLOAD,
        "        self._claim_if_claimable(archive)\n        give_up_at",
        "        await self._claim(archive)\n        give_up_at",
        ("tests/unit/flows/test_downloading.py",),
    ),
    Mutant(
        "a merge deletes its parts when it ends",
        MERGE,
        "        if published is None:\n",
        "        if published is not None:\n"
        "            self.bucket.delete([part.key for part in self.manifests.of(published).parts])\n"
        "        if published is None:\n",
        TESTS_OF_MERGING,
    ),
    Mutant(
        "a merge deletes its parts before it ends, under the readers",
        MERGE,
        "            self.bucket.complete_upload(upload, done)\n",
        "            self.bucket.complete_upload(upload, done)\n"
        "            self.bucket.delete([part.key for part in manifest.parts])\n",
        SEED_CASE,
    ),
)

CLAIM = (
    Mutant(
        "a claim that isn't stale is taken again",
        CLAIMS,
        "if claimable is None or claimable > now:",
        "if claimable is None:",
        TESTS_OF_CLAIMS,
    ),
    Mutant(
        "an archive in one object is claimed",
        CLAIMS,
        "    return archive.is_stored and archive.object is None\n",
        "    return archive.is_stored\n",
        TESTS_OF_CLAIMS,
    ),
    Mutant(
        "a claim is stale while the queue holds its message",
        CLAIMS,
        "merge.sent_at + lifetimes.queue_retention",
        "merge.sent_at + SEND_TIMEOUT",
        TESTS_OF_CLAIMS,
    ),
    Mutant(
        "a run that is alive is taken for dead",
        CLAIMS,
        "            return merge.lease_until\n",
        "            return merge.claimed_at + SEND_TIMEOUT\n",
        TESTS_OF_CLAIMS,
    ),
    Mutant(
        "a merge has attempts without end",
        CLAIMS,
        "    if attempts >= max_attempts:\n        return None\n",
        "",
        ("tests/unit/domain/test_claim.py", "tests/unit/flows/test_merging.py"),
    ),
    Mutant(
        "a message starts a run although its claim was replaced",
        CLAIMS,
        "not needs_merge(archive) or merge.claim_token != token or merge.attempts",
        "not needs_merge(archive) or merge.attempts",
        TESTS_OF_CLAIMS,
    ),
    Mutant(
        "a message starts a run of a removed archive",
        CLAIMS,
        "if not needs_merge(archive) or merge.claim_token != token or",
        "if merge.claim_token != token or",
        TESTS_OF_CLAIMS,
    ),
    Mutant(
        "a second delivery starts a run beside one that is alive",
        CLAIMS,
        "is_run_alive = merge.state is MergeState.RUNNING and merge.lease_until > now",
        "is_run_alive = False",
        TESTS_OF_CLAIMS,
    ),
    Mutant(
        "a run starts after the last attempt",
        CLAIMS,
        " or merge.claim_token != token or merge.attempts >= max_attempts:",
        " or merge.claim_token != token:",
        TESTS_OF_CLAIMS,
    ),
    Mutant(
        "a dead letter replaces another claim",
        CLAIMS,
        "        case MergeState.QUEUED if merge.claim_token != dead_letter_token:\n            return None\n",
        "",
        TESTS_OF_CLAIMS,
    ),
    Mutant(
        "a claim is written whoever wrote meanwhile",
        TABLE,
        "write(lambda: self._archive_item(current, updated).save())",
        "write(lambda: self._archive_item(current, updated).save(add_version_condition=False))",
        TESTS_OF_TABLE,
    ),
    Mutant(
        "a refused write counts as written",
        ARCHIVES,
        "if current is not None and current == attempted:",
        "if current is not None and attempted is not None:",
        ("tests/unit/flows/test_bounds.py",),
    ),
    Mutant(
        "a claim whose message can't be sent is kept",
        ARCHIVES,
        "            transition(self.table, archive_id, lambda current: claim.released(current, token))\n",
        "",
        ("tests/unit/flows/test_emitted_events.py::test_unclaimed_merge_fails_no_save",),
    ),
)

PUBLICATION = (
    Mutant(
        "a run that was replaced publishes",
        CLAIMS,
        "archive.merge.state is MergeState.RUNNING and archive.merge.run_token == run_token",
        "archive.merge.state is MergeState.RUNNING",
        TESTS_OF_CLAIMS,
    ),
    Mutant(
        "a run publishes to a removed archive",
        CLAIMS,
        "    return archive.is_stored and archive.merge.state is MergeState.RUNNING and",
        "    return archive.merge.state is MergeState.RUNNING and",
        TESTS_OF_CLAIMS,
    ),
    Mutant(
        "a run publishes without being asked whether it is the current one",
        CLAIMS,
        "    if not _is_current_run(archive, run_token):\n        return None\n    merge = replace(",
        "    merge = replace(",
        TESTS_OF_CLAIMS,
    ),
    Mutant(
        "a run that was replaced goes on",
        MERGE,
        "        if renewed is None:\n            raise RunLost(archive_id)\n",
        "        del renewed\n",
        TESTS_OF_MERGING,
    ),
    Mutant(
        "a run that was overtaken comes again when it fails",
        MERGE,
        "            if not self._release(archive, run_token, error) and isinstance(error, Exception):\n",
        "            if self._release(archive, run_token, error) is None:\n",
        TESTS_OF_LEFT_UPLOADS,
    ),
    Mutant(
        "an overtaken run aborts the upload of the living one",
        ARCHIVES,
        "            if archive is None or not may_complete(archive, upload.key):\n",
        "            if archive is None or upload:\n",
        TESTS_OF_LEFT_UPLOADS,
    ),
    Mutant(
        "a run leaves the upload of the dead one before it",
        MERGE,
        "        if archive.merge.attempts > 1:\n",
        "        if archive.merge.attempts > 99:\n",
        TESTS_OF_LEFT_UPLOADS,
    ),
    Mutant(
        "a direct upload is aborted before its archive is noted",
        f"{CORE}/cleanup.py",
        "                is_young = started_at + UNKNOWN_FOR > self.clock.now()\n",
        "                is_young = started_at > self.clock.now()\n",
        TESTS_OF_LEFT_UPLOADS,
    ),
    Mutant(
        "all runs of an archive write the same object",
        f"{CORE}/domain/object_keys.py",
        'return f"{self.merged_prefix}{run_token}"',
        'return f"{self.merged_prefix}{run_token[:0]}object"',
        TESTS_OF_MERGING,
    ),
    Mutant(
        "a saved entry is saved over",
        TABLE,
        "(**entry_attributes(updated.entry)), EntryItem.partition.does_not_exist())",
        "(**entry_attributes(updated.entry)))",
        TESTS_OF_TABLE,
    ),
    Mutant(
        "an upload is published by another's reservation",
        TABLE,
        "items.delete(self._reservation_item(current.reservation), _holds_for(ReservationItem, current.id))",
        "items.delete(self._reservation_item(current.reservation))",
        TESTS_OF_TABLE,
    ),
    Mutant(
        "a saved key is reserved again",
        TABLE,
        "            items.condition_check(self._entries, family.partition, sort_key, condition=entry_absent)\n",
        "",
        TESTS_OF_SAVING,
    ),
    Mutant(
        "a reserved key is reserved again",
        TABLE,
        "items.save(self._reservation_item(archive.reservation), reservation_absent | reservation_expired)",
        "items.save(self._reservation_item(archive.reservation))",
        TESTS_OF_TABLE,
    ),
    Mutant(
        "an upload is published after its reservation's end",
        f"{CORE}/domain/archive.py",
        "    if archive.reservation_expires_at <= now:\n        return None\n",
        "",
        TESTS_OF_SAVING,
    ),
    Mutant(
        "a second block list replaces what was committed",
        f"{CORE}/domain/archive.py",
        "if archive.state is not ArchiveState.RESERVED or archive.commit is not None:",
        "if archive.state is not ArchiveState.RESERVED:",
        TESTS_OF_SAVING,
    ),
)
