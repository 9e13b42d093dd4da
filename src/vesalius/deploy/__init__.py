"""From a finished run to its use: predictions for new files."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "contract": ["InputContract"],
        "loading": ["load"],
        "predictor": ["Predictor"],
    },
)
