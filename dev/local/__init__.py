"""The local run: the deployed functions, on emulators that stand in for AWS (`make run`)."""
