"""Saves the tables into a file and restores them, so that they fit together: docs/operations.md has the drill."""
