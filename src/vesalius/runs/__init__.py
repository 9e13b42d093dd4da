"""What lies on disk: run folders, sweep folders, provenance."""
