"""`make deploy`: asks at most six questions, says what will be created and what it costs, deploys, and checks."""
