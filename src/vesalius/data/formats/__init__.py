"""Decoders: from one file to arrays and what its header holds."""
