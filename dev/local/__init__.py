"""The local run: the deployed functions, on real engines that stand in for AWS (`make run`)."""
