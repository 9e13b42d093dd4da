"""Figures, drawn with matplotlib from numbers."""
