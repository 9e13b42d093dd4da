"""`hydra/launcher=vesalius`: jobs of a sweep in processes of their own."""
