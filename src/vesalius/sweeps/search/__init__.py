"""Searches that Optuna draws."""
