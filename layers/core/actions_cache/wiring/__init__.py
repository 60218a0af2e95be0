"""The one place that joins use cases and adapters."""
