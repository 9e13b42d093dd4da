"""Metrics of class probabilities: values, intervals, no-skill values, curves and counts."""
