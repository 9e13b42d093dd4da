"""Numbers and nothing else: numpy in, plain numbers out, each with its 95 % interval and its no-skill value."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "anomaly": ["ErrorMaps", "anomaly_metrics", "peak_in_mask"],
        "baselines.linear_models": ["fit_baselines"],
        "classification.metrics": ["classification_metrics"],
        "classification.thresholds": ["choose_threshold"],
        "comparison.paired": ["paired_difference"],
        "comparison.repeats": ["repeated_difference", "repeated_metric"],
        "comparison.verdict": ["verdict"],
        "entry": ["Interval", "MetricEntry"],
        "formatting": ["format_metric", "format_number"],
        "mahalanobis": ["Mahalanobis"],
        "out_of_distribution": ["OutOfDistribution"],
        "predictions": ["read_predictions"],
        "probes": ["probe"],
        "reconstruction": ["image_errors", "paired_reconstruction_difference", "reconstruction_metrics"],
        "regression": ["regression_metrics"],
        "synthesis.memorisation": ["memorisation"],
        "synthesis.metrics": ["synthesis_metrics"],
        "synthesis.two_sample": ["two_sample_test"],
        "worst_errors": ["find_worst_errors"],
    },
)
