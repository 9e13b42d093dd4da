"""Figures, drawn with matplotlib from numbers; each function returns a `matplotlib.figure.Figure`."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "classification": [
            "confusion_matrix_figure",
            "history_figure",
            "image_grid_figure",
            "reliability_figure",
            "roc_figure",
        ],
        "comparison": ["comparison_figure"],
        "decision": ["abstention_figure", "decision_curve_figure"],
        "reconstruction": ["error_maps_figure", "latent_map_figure", "reconstructions_figure", "walk_figure"],
        "regression": ["scatter_figure"],
        "series": ["ablation_figure", "filmstrip_figure", "trajectory_figure"],
        "synthesis": ["pairs_figure", "samples_figure"],
    },
)
