"""`make verify-deployment URL=...`: saves and restores for real, and says in plain words what is wrong."""
