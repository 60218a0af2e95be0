"""Version 1: what stood in the tables before they had a version, as today's indexes find it.

The documents have the same shape. But what stands beside them was written by older rules:

- An archive is looked at again only when it is due, and due times never came back to the leftovers of a merge given up,
which leaked.
- Archives stored before usage was counted aren't in the index by last use: they count towards no budget and are
  evicted by none.

Whatever is migrated is written anew, and each write reckons all of that anew. Its repository is noted, so that
its usage is counted when it is next held against what is there (usecases/reconcile_usage.py).
"""

from actions_cache.domain.migrations.migration import Migration, unchanged

MIGRATION = Migration(1, unchanged)
