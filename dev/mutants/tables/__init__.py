"""The mutants, by the rule that each of them breaks."""

from dev.mutants.mutant import Mutant
from dev.mutants.tables.access import SIGNED_URLS, TOKENS
from dev.mutants.tables.bounds import BOUNDS
from dev.mutants.tables.direct import DIRECT_UPLOADS
from dev.mutants.tables.merging import CLAIM, PUBLICATION, SEED
from dev.mutants.tables.reading import ETAG_PIN, GRACE, SIZE

MUTANTS: dict[str, tuple[Mutant, ...]] = {
    "the problem it came from": SEED,
    "claim": CLAIM,
    "publication": PUBLICATION,
    "grace": GRACE,
    "ETag pin": ETAG_PIN,
    "size": SIZE,
    "direct uploads": DIRECT_UPLOADS,
    "tokens": TOKENS,
    "signed URLs": SIGNED_URLS,
    "bounds": BOUNDS,
}
