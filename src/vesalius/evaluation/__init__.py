"""From a model and data to predictions, metrics, baselines and ablations."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "base": ["results_of"],
        "metric_tables": ["print_metrics"],
        "supervised": ["grid_of_images", "strips_of_series"],
    },
)
