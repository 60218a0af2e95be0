"""Decides when a merge message is delivered again after a failed run."""

FIRST_RETRY_SECONDS = 10
"""Seconds before the first retry, doubled after each delivery. Longer: merges wait though the fault has passed.
Shorter: more runs fail."""

LONGEST_RETRY_SECONDS = 300
"""Longer: merges wait after an outage. Shorter: the queue's deliveries are used up sooner, and the message becomes a
dead letter though its merge never ran; with this, twenty deliveries outlast an outage of 75 minutes. SQS takes 12 hours
at most (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ChangeMessageVisibility.html)."""


def retry_after(deliveries: int) -> int:
    """Return the seconds until the next delivery, after this many. Those that Lambda had no room for count as well."""
    # Bound the exponent: the queue's count may be any number.
    doublings = max(0, min(deliveries - 1, LONGEST_RETRY_SECONDS.bit_length()))
    return min(FIRST_RETRY_SECONDS << doublings, LONGEST_RETRY_SECONDS)
