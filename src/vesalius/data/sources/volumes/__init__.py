"""Volumes in NIfTI files, cut into slices or series."""
