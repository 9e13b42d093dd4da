"""Generator and critic nets of the `gan` family."""
