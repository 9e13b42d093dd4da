"""The console and its progress bars."""
