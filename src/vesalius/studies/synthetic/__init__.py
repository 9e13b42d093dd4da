"""The closed loop: a generator, its images, and classifiers that learn from them."""
