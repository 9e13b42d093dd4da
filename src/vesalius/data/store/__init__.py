"""Images decoded once and stored in memory-mapped files, which batches are cut from."""
