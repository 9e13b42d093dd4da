"""Every sample decoded once, in memory-mapped files."""
