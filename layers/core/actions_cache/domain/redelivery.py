"""When a merge message whose run failed is delivered again."""

FIRST_RETRY_SECONDS = 10
"""Twice as long after each delivery. Longer: merges wait for a fault that has passed. Shorter: more runs fail in it."""

LONGEST_RETRY_SECONDS = 300
"""Longer: after an outage, merges wait. Shorter: the queue's deliveries are used up sooner, and the message becomes a
dead letter though its merge never ran; with this, twenty of them outlast an outage of 75 minutes. SQS takes 12 hours at
most (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ChangeMessageVisibility.html)."""


def retry_after(deliveries: int) -> int:
    """Return the seconds until the next delivery, after this many. Those that Lambda had no room for count as well."""
    # No more doublings than it takes: the count is somebody else's.
    doublings = max(0, min(deliveries - 1, LONGEST_RETRY_SECONDS.bit_length()))
    return min(FIRST_RETRY_SECONDS << doublings, LONGEST_RETRY_SECONDS)
