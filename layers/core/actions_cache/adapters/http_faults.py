"""Describes what went wrong with a request of aiohttp's, in words that may be logged."""

import aiohttp


def in_words(error: Exception) -> str:
    """Return them without the request's headers, which aiohttp's own words bring: they carry its credentials."""
    said = error.message if isinstance(error, aiohttp.ClientResponseError) else error
    return f"{type(error).__name__}: {said}"
