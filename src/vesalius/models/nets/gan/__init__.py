"""Generators and critics of the GAN family."""
