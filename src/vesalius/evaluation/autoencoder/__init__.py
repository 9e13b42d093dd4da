"""The evaluation of an autoencoder: its reconstructions, what its features are worth, and its anomaly scores."""
