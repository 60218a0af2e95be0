"""Version 1: what stood in the tables before they had a version, by today's rules for when an archive is due.

The documents have the same shape. But an archive is looked at again only when it is due, and the releases before
wrote due times by rules that never came back to the leftovers of a merge given up (P7). Whatever is migrated is written
anew, and each write reckons the due time anew, so there is nothing else to do.
"""

from actions_cache.domain.migrations.migration import Migration, unchanged

MIGRATION = Migration(1, unchanged)
