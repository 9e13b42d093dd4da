"""Weights & Biases and TensorBoard."""
