"""Composing, checking and freezing configs; the facts that a model knows of its data; errors."""
