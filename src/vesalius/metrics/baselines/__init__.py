"""Cheap methods that a network has to beat."""
