"""One LightningDataModule for each model family."""
