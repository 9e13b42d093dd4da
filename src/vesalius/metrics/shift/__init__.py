"""Whether new data are like those that a model was validated on: statistics to keep, and tests against them."""
