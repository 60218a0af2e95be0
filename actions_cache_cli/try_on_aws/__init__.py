"""`make try-on-aws`: a throwaway stack, the deployment check and a small bench on it, and nothing left of either."""
