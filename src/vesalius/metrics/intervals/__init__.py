"""95 % intervals that count patients, not images."""
