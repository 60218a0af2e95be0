"""Writes docs/design/scale.md: which of AWS's limits each flow meets first."""
