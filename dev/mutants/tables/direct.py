"""Mutants of direct uploads: what completes one, what may change it, and what becomes of it otherwise."""

from dev.mutants.mutant import CORE, Mutant

DIRECT = f"{CORE}/direct.py"
DOMAIN = f"{CORE}/domain/direct_upload.py"
ARCHIVE = f"{CORE}/domain/archive.py"
S3 = f"{CORE}/aws/s3.py"
HOOK = "runners/hook-requests.cjs"

TESTS = ("tests/unit/flows/test_direct_uploads.py",)
TESTS_OF_BUCKET = ("tests/integration/aws/test_bucket.py",)
TESTS_OF_HOOK = ("tests/integration/hook/test_saves.py",)

DIRECT_UPLOADS = (
    Mutant(
        "an object is committed without a look at it",
        DIRECT,
        "        found = self.bucket.stat(made.key)\n",
        "        found = made\n",
        TESTS,
    ),
    Mutant(
        "an object of other bytes is committed",
        DIRECT,
        "        if found != made:\n",
        "        if found.size != made.size:\n",
        TESTS,
    ),
    Mutant(
        "a lost answer of Complete fails the save",
        DIRECT,
        "            failure = error\n",
        "            raise error\n",
        TESTS,
    ),
    Mutant(
        "another list goes on with what a crashed one began",
        DIRECT,
        "        if offered.digest != digest:\n",
        "        if offered.digest is None:\n",
        TESTS,
    ),
    Mutant(
        "a block that came after its list counts",
        DIRECT,
        "        if offered.object != made:\n",
        "        if offered.object.key != made.key:\n",
        TESTS,
    ),
    Mutant(
        "a second list replaces what the first one noted",
        ARCHIVE,
        " or direct is None or direct.object:\n",
        " or direct is None:\n",
        TESTS,
    ),
    Mutant(
        "a list leaves out a block in the middle",
        DOMAIN,
        "(first[0], index):\n",
        "(first[0], _counted(block_id)[1]):\n",
        TESTS,
    ),
    Mutant(
        "a list takes blocks of two uploads",
        DOMAIN,
        "_counted(block_id) != (first[0], index):\n",
        "(_counted(block_id) or first)[1] != index:\n",
        TESTS,
    ),
    Mutant(
        "a short block in the middle goes to S3's own error",
        DOMAIN,
        "        if part.size < MIN_UPLOAD_PART_BYTES:\n",
        "        if part.size < 1:\n",
        TESTS,
    ),
    Mutant(
        "an upload that nobody used stays",
        ARCHIVE,
        "    if direct is not None and only_part is not None and direct.object == only_part:\n",
        "    if direct is not None:\n",
        TESTS,
    ),
    Mutant(
        "a dead client's upload stays",
        f"{CORE}/cleanup_batch.py",
        "    if archive.direct is not None:\n",
        "    if archive.direct is not None and archive.is_stored:\n",
        TESTS,
    ),
    Mutant(
        "bytes in a direct upload don't count as an open upload's",
        f"{CORE}/cleanup.py",
        "bytes=sum(part.size for part in sent))\n",
        "bytes=0)\n",
        TESTS,
    ),
    Mutant(
        "a key that is taken leaves an upload",
        f"{CORE}/save.py",
        "            self.offer_direct.withdraw(direct)\n            raise\n",
        "            raise\n",
        TESTS,
    ),
    Mutant(
        "a presigned PUT replaces what was there",
        S3,
        ', "if-none-match": "*"}',
        "}",
        TESTS_OF_BUCKET,
    ),
    Mutant(
        "one signature opens each part",
        S3,
        "{signing.rest([*query, f'partNumber={number}'])}",
        "{signing.rest([*query, 'partNumber=1'])}",
        TESTS_OF_BUCKET,
    ),
    Mutant(
        "the hook sends S3 what the client would send the server",
        HOOK,
        "headers: { ...headers, 'user-agent': job.userAgent } }\n  let [isOver",
        "headers: { ...options.headers, ...headers, 'user-agent': job.userAgent } }\n  let [isOver",
        TESTS_OF_HOOK,
    ),
    Mutant(
        "the hook uploads to a store that it can't reach",
        HOOK,
        "      if (isThere) job.uploads.set(pathname, upload)\n",
        "      job.uploads.set(pathname, upload)\n",
        TESTS_OF_HOOK,
    ),
    Mutant(
        "the hook sends S3 blocks that are too short",
        HOOK,
        "index === 0 && size >= LEAST_PART_BYTES && ",
        "index === 0 && ",
        TESTS_OF_HOOK,
    ),
    Mutant(
        "the hook begins with fewer URLs than an archive may need",
        HOOK,
        " && size * parts.signatures.length >= LARGEST_ARCHIVE_BYTES\n",
        "\n",
        TESTS_OF_HOOK,
    ),
    Mutant(
        "the client gives up when S3 asks it to wait",
        HOOK,
        "TEMPORARY.test(body) ? 503 : status)\n",
        "TEMPORARY.test(body) ? status : status)\n",
        TESTS_OF_HOOK,
    ),
)
