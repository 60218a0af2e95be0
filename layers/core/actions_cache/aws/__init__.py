"""The adapters, which alone call AWS, with boto3, pynamodb or aiohttp."""
