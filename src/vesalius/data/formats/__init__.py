"""Decoders of files: images as arrays, and the values of headers."""
