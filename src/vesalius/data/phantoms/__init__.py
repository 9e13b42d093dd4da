"""Synthetic patients with exact ground truth, generated in seconds."""
