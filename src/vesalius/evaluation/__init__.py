"""From a model and data to predictions, metrics, baselines and ablations."""
