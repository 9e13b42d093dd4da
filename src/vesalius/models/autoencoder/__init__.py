"""The `autoencoder` family."""
