"""Differences between models on the same patients."""
