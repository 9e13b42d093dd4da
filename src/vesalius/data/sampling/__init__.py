"""Which samples and frames make up each training step."""
