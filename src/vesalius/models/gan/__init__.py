"""The `gan` family."""
