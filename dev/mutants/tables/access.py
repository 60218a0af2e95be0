"""Mutants of who gets in: the rules of a job's token, and the checks of a signed URL."""

from dev.mutants.mutant import CORE, Mutant

ACCESS = f"{CORE}/domain/access.py"
DEPENDENCIES = "functions/api/dependencies.py"
EDGE = "functions/edge/viewer_request.js"
SIGNING = f"{CORE}/domain/signing.py"
READER = "functions/api/tokens.py"

TESTS_OF_TOKENS = ("tests/unit/api/test_tokens.py",)
TESTS_OF_ACCESS = ("tests/unit/domain/test_access.py", "tests/unit/api/test_tokens.py")
TESTS_OF_SIGNING = ("tests/unit/domain/test_signing.py",)
TESTS_OF_URLS = ("tests/unit/api/test_bad_input.py",)
TESTS_OF_EDGE = ("tests/integration/edge/test_javascript.py", "tests/integration/edge/test_twins.py")

TOKENS = (
    Mutant(
        "the signature isn't verified",
        READER,
        "self._verified(token.strip()) if self.verify else self._unverified(token.strip())",
        "self._unverified(token.strip())",
        TESTS_OF_TOKENS,
    ),
    Mutant(
        "keys of any issuer are believed",
        READER,
        "        if issuer not in self.issuers:\n",
        "        if not issuer:\n",
        TESTS_OF_TOKENS,
    ),
    Mutant(
        "one trusted issuer signs for another",
        READER,
        "self._keys.setdefault(issuer, IssuerKeys(issuer, self.trust))",
        "self._keys.setdefault(self.issuers[0], IssuerKeys(self.issuers[0], self.trust))",
        TESTS_OF_TOKENS,
    ),
    Mutant("an expired token is good", READER, '"verify_exp": True', '"verify_exp": False', TESTS_OF_TOKENS),
    Mutant("a token is good before its time", READER, '"verify_nbf": True', '"verify_nbf": False', TESTS_OF_TOKENS),
    Mutant("a token never expires", READER, '"require": ["exp"]', '"require": []', TESTS_OF_TOKENS),
    Mutant(
        "a token's expiry may be text",
        READER,
        "if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):",
        "if isinstance(value, bool):",
        TESTS_OF_TOKENS,
    ),
    Mutant(
        "a token for another audience is good",
        READER,
        '"verify_aud": self.audience is not None',
        '"verify_aud": False',
        TESTS_OF_TOKENS,
    ),
    Mutant(
        "TOKEN_CLAIMS keeps nobody out",
        READER,
        "            check_claims(self.rules, issuer, claims, self.issuers)\n",
        "            pass\n",
        TESTS_OF_TOKENS,
    ),
    Mutant(
        "without any rule, everybody is admitted",
        ACCESS,
        "        if lets_anybody_in:\n",
        "        if True:\n",
        TESTS_OF_ACCESS,
    ),
    Mutant(
        "one matching claim is enough",
        ACCESS,
        "        if not lacking:\n",
        "        if len(lacking) < len(allowed):\n",
        TESTS_OF_ACCESS,
    ),
    Mutant(
        "a rule for one issuer admits another's jobs",
        ACCESS,
        "own = [rule for rule in rules if rule.issuer in (None, without_slash(issuer))]",
        "own = list(rules)",
        TESTS_OF_ACCESS,
    ),
    Mutant(
        "a token that contradicts itself is believed",
        ACCESS,
        "    if len(values) > 1 and not has_both_ids:\n",
        "    if len(values) > 1 and not has_both_ids and not claims:\n",
        TESTS_OF_ACCESS,
    ),
    Mutant(
        "a key that is named twice in a claim's JSON is believed",
        ACCESS,
        "    if len(found) != len(pairs):\n",
        "    if len(found) > len(pairs):\n",
        TESTS_OF_ACCESS,
    ),
    Mutant(
        "a token writes where it may only read",
        ACCESS,
        "            if scope.permission & WRITE:\n",
        "            if scope.permission & READ:\n",
        TESTS_OF_ACCESS,
    ),
    Mutant(
        "a token reads where it may not",
        ACCESS,
        "for scope in self.scopes if scope.permission & READ))",
        "for scope in self.scopes))",
        TESTS_OF_ACCESS,
    ),
    Mutant(
        "repositories of two issuers with one id are the same",
        ACCESS,
        'return repository_id if without_slash(issuer) == GITHUB else f"{repository_id}@{without_slash(issuer)}"',
        "return repository_id",
        TESTS_OF_TOKENS,
    ),
    Mutant(
        "a repository's id may hold what separates names",
        READER,
        "    if not allowed.fullmatch(repository):\n",
        "    if not repository:\n",
        TESTS_OF_TOKENS,
    ),
    Mutant(
        "a v1 upload takes chunks of another repository's job",
        "functions/api/artifact_cache.py",
        "(archive.name.family.repository, archive.name.family.scope) != (caller.repository, scope):",
        "archive.name.family.scope != scope:",
        ("tests/guarantees/test_isolation.py::test_good_token_does_exactly_what_its_claims_say",),
    ),
    Mutant(
        "a withdrawn key is good as long as its issuer is down",
        READER,
        "or self._known is None or time.monotonic() - self._known_at > STALE_SECONDS:",
        "or self._known is None:",
        TESTS_OF_TOKENS,
    ),
)

SIGNED_URLS = (
    Mutant(
        "any signature fits",
        SIGNING,
        "    if not any(hmac.compare_digest(signature.encode(), valid.encode()) for valid in valid_signatures):\n",
        "    if not valid_signatures:\n",
        TESTS_OF_SIGNING,
    ),
    Mutant(
        "an upload URL downloads",
        SIGNING,
        'message = f"{direction}\\n{subject}\\n{expires}"',
        'message = f"{subject}\\n{expires}"',
        TESTS_OF_SIGNING,
    ),
    Mutant(
        "one archive's URL opens another's",
        SIGNING,
        'message = f"{direction}\\n{subject}\\n{expires}"',
        'message = f"{direction}\\n{expires}"',
        TESTS_OF_SIGNING,
    ),
    Mutant(
        "a URL's expiry can be altered",
        SIGNING,
        'message = f"{direction}\\n{subject}\\n{expires}"',
        'message = f"{direction}\\n{subject}\\n{expires[:0]}"',
        TESTS_OF_SIGNING,
    ),
    Mutant(
        "an expired URL is good",
        SIGNING,
        "    if int(expires) * SECOND <= now:\n",
        "    if int(expires) < 0:\n",
        TESTS_OF_SIGNING,
    ),
    Mutant(
        "a secret that was replaced is refused at once",
        SIGNING,
        "for secret in (self.current, self.next, self.previous) if secret is not None)",
        "for secret in (self.current, self.next) if secret is not None)",
        TESTS_OF_SIGNING,
    ),
    Mutant(
        "a download's signature opens an upload",
        DEPENDENCIES,
        "    await check_signed_url(request, services.urls, Direction.UPLOAD, archive)\n",
        "    await check_signed_url(request, services.urls, Direction.DOWNLOAD, archive)\n",
        TESTS_OF_URLS,
    ),
    Mutant(
        "an upload URL needs no signature at the API",
        DEPENDENCIES,
        "    await check_signed_url(request, services.urls, Direction.UPLOAD, archive)\n",
        "",
        TESTS_OF_URLS,
    ),
    Mutant(
        "a download URL needs no signature",
        "functions/download/handler.py",
        "    await check_signed_url(request, services.core.urls, Direction.DOWNLOAD, archive)\n",
        "",
        TESTS_OF_URLS,
    ),
    Mutant(
        "the API tells a download's size without a signature",
        DEPENDENCIES,
        "    await check_signed_url(request, services.urls, Direction.DOWNLOAD, archive)\n",
        "",
        TESTS_OF_URLS,
    ),
    Mutant(
        "the edge takes an expired URL",
        EDGE,
        "|| Number(expires) * 1000 <= Date.now()) {",
        "|| Number(expires) < 0) {",
        TESTS_OF_EDGE,
    ),
    Mutant(
        "the edge takes a URL signed with an empty secret",
        EDGE,
        ".filter((secret) => secret !== '')",
        "",
        TESTS_OF_EDGE,
    ),
    Mutant(
        "the edge takes the first of two signatures",
        EDGE,
        "['se', 'sig', 'comp', 'blockid'].forEach(",
        "['comp', 'blockid'].forEach(",
        TESTS_OF_EDGE,
    ),
    Mutant(
        "a download URL outlives the time that the grace counts on",
        f"{CORE}/urls.py",
        "expires_at = self.clock.now() + self.lifetimes.download_url\n",
        "expires_at = self.clock.now() + 2 * self.lifetimes.download_url\n",
        ("tests/unit/flows/test_looking_up.py",),
    ),
    Mutant(
        "a presigned URL claims to outlive its credentials",
        f"{CORE}/aws/s3.py",
        "    seconds = min(seconds, seconds_left(self._credentials) or seconds)\n            return",
        "    seconds = max(seconds, seconds_left(self._credentials) or seconds)\n            return",
        ("tests/integration/aws/test_endpoints.py",),
    ),
    Mutant(
        "a list of parts claims to outlive its credentials",
        f"{CORE}/aws/s3.py",
        "seconds = min(seconds, seconds_left(self._credentials) or seconds)\n        time",
        "seconds = max(seconds, seconds_left(self._credentials) or seconds)\n        time",
        ("tests/integration/aws/test_signing.py",),
    ),
)
