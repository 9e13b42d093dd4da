"""The model card of a bundle: what it is for, its limits, and every number of its run."""
