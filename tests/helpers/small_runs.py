"""Overrides of the smallest run that still trains: seconds on one core."""

SMALL = [
    "data.source.patients=32",
    "data.source.slices=2",
    "data.source.image_size=28",
    "trainer=cpu",
    "logger=none",
    "evaluation.baselines=false",
]
