"""Adapters: everything that calls AWS, by boto3, pynamodb or aiohttp."""
