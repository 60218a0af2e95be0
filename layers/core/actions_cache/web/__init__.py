"""HTTP as this server's clients speak it: twirp and Azure Blob Storage. Only the HTTP functions load this."""
