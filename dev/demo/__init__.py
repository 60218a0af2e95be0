"""`make demo`: a real save and restore."""
