"""Losses for classes and for continuous targets."""
