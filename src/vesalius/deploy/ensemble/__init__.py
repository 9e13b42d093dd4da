"""Several runs as one model: the mean of their calibrated probabilities, evaluated and used like a run."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "backend": ["EnsembleBackend"],
        "folder": ["EnsembleFolder"],
        "module": ["EnsembleModule"],
    },
)
