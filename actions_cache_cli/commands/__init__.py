"""One file a command: options in, one use case, rows out."""
