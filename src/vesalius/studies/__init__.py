"""Studies of several runs: comparisons, and what synthetic images are worth."""
