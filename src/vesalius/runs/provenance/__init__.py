"""Where a run comes from, and what it cost."""
