"""`make deploy`: asks six things at most, says what will be made and what it costs, deploys, and checks."""
