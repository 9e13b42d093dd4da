"""Runs side by side: comparisons, and what synthetic images are worth."""
