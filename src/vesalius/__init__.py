"""Vesalius: honest deep-learning experiments on medical images."""

__version__ = "0.1.0"
