"""What is measured on validation data after each epoch, to pick a checkpoint."""
