"""Encoders and decoders of the autoencoder family."""
