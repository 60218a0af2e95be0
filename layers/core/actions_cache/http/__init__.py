"""HTTP as this server's clients speak it: twirp, Azure Blob Storage, the v1 API, GitHub's REST."""
