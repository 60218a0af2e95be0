"""Reads what falcondev-oss/github-actions-cache-server keeps (version 9, its lib/db.ts and lib/storage.ts)."""
