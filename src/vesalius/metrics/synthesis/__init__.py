"""Metrics of generators: how near synthetic images come to real ones, and whether they are copies."""
