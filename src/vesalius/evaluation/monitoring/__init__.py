"""Statistics that a finished model takes along, to tell whether new images are like those it knows."""
