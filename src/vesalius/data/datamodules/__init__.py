"""The LightningDataModule of each model family: which samples it takes, and what its batches hold."""
